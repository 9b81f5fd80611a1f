//! What an app says of one device in one message: all of it or nothing.

use crate::draft::Moment;
use crate::{AckSource, Change, Desire, Rejected, Report, Twin, Update};

impl Twin {
    /// Takes what `update` reports, then what it desires.
    ///
    /// # Errors
    /// Any part of it may not be; nothing is changed then (rule R6).
    pub(crate) fn update(
        &mut self,
        update: &Update,
        moment: &mut Moment<'_>,
    ) -> Result<Vec<Change>, Rejected> {
        let (before, counted) = (self.clone(), *moment.counters);
        let result = self.take_update(update, moment);
        if result.is_err() {
            (*self, *moment.counters) = (before, counted);
        }
        result
    }

    fn take_update(
        &mut self,
        update: &Update,
        moment: &mut Moment<'_>,
    ) -> Result<Vec<Change>, Rejected> {
        let Update { device, writer, reported, desired } = update.clone();
        let report =
            Report { acks: AckSource::Derived, properties: reported, ..Report::of(device.clone()) };
        let (reported, mut refused) = self.report(&report, moment)?;
        match refused.len() {
            0 => {}
            1 => return Err(refused.remove(0).reason),
            _ => return Err(Rejected::Several(refused)),
        }
        let desire = Desire { properties: desired, ..Desire::of(device, writer) };
        let desired = self.desire(&desire, moment)?;
        Ok(reported.into_iter().chain(desired).collect())
    }
}
