//! What every driver has to do.
