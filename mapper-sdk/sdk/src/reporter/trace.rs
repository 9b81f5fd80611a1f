//! Which trace a report belongs to: that of the desired change that it acknowledges, else one of its own.

use device_model::{Ack, PropertyName};
use dmi::convert::DesiredWords;
use dmi::trace::TraceId;
use tracing::{Level, Span, debug, debug_span, enabled};

use crate::outbox::Parcel;

/// The trace of the first desired change that `parcel` acknowledges, if any has one.
pub(super) fn of(parcel: &Parcel) -> Option<TraceId> {
    parcel.acks.iter().find_map(|(property, ack)| of_change(parcel, property, ack))
}

/// The span of a call, and its trace. Where nobody looks, only the trace of a desired change goes along.
pub(super) fn begin(parcels: &[Parcel], change: Option<TraceId>) -> (Span, Option<TraceId>) {
    if !enabled!(Level::DEBUG) {
        return (Span::none(), change);
    }
    let trace = change.unwrap_or_else(TraceId::random);
    let readings: usize = parcels.iter().map(|parcel| parcel.readings.len()).sum();
    let span = debug_span!("report", %trace, devices = parcels.len(), readings);
    span.in_scope(|| {
        for parcel in parcels {
            let device = &parcel.device.id;
            for (property, ack) in &parcel.acks {
                // A device may acknowledge several changes at once.
                let change = of_change(parcel, property, ack).map(tracing::field::display);
                let (version, code) = (&ack.generation, &ack.code);
                debug!(change, %device, %property, %version, %code, "acknowledges");
            }
        }
    });
    (span, Some(trace))
}

fn of_change(parcel: &Parcel, property: &PropertyName, ack: &Ack) -> Option<TraceId> {
    let desire = parcel.device.property(property.as_str())?.desired.as_ref()?;
    let words = DesiredWords::read(&desire.metadata);
    words.trace.filter(|_| words.generation == Some(ack.generation))
}
