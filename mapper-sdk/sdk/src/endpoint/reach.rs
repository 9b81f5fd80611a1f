//! Who on the wire can be reached, and what follows when that changes.

use device_model::QualityCode;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::{Endpoint, time};
use crate::driver::{Cause, Driver, SessionFault};
use crate::member::Link;
use crate::report::Report;
use crate::schedule::Seat;
use crate::write::Turn;

impl<D: Driver> Endpoint<D> {
    /// The session is gone, or could not be opened: nobody on this wire can be reached.
    pub(super) async fn lost(&mut self, fault: &SessionFault) {
        let (SessionFault::Lost(cause) | SessionFault::Silent(cause)) = fault;
        if self.link != Link::Down {
            warn!(endpoint = %self.address, devices = self.members.len(), %cause, "wire down");
            self.link = Link::Down;
            self.wire.up.set(0);
        }
        self.cause = Some(cause.clone());
        self.note_queue();
        self.flush().await;
        let seats: Vec<_> = self.members.keys().copied().collect();
        for seat in seats {
            self.unreachable(seat, cause).await;
        }
    }

    /// One device cannot be reached: all its readings are Bad in one report (rule R23), writes wait.
    pub(super) async fn unreachable(&mut self, seat: Seat, cause: &Cause) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        let news = member.link != Link::Down;
        member.link = Link::Down;
        member.cause = Some(cause.0.as_str().into());
        if news {
            let now = Instant::now().into_std();
            let readings = member.all_bad(QualityCode::NoCommunication, now, time());
            let batch = self.batch_of(seat).await;
            // What was read before in this batch stays: it was true then, and the newest wins.
            batch.readings.extend(readings);
        }
        let points = self.members.get(&seat).map_or(0, |member| member.points.len());
        for point in 0..points {
            if let Some(member) = self.members.get_mut(&seat) {
                member.points[point].writer.unreachable(&cause.0, &mut self.acks);
            }
            self.keep_acks(seat, point).await;
        }
        self.flush().await;
        self.tell_health(seat).await;
    }

    /// A unit answered. The first answer after a loss re-opens the device for writes that waited.
    pub(super) async fn answered(&mut self, seat: Seat) {
        self.schedule.answered(seat);
        if self.link != Link::Up {
            info!(endpoint = %self.address, "wire up");
            self.link = Link::Up;
            self.wire.up.set(1);
        }
        self.backoff.reset();
        let Some(member) = self.members.get_mut(&seat) else { return };
        if member.link == Link::Up {
            return;
        }
        let returned = member.link == Link::Down;
        member.up();
        let now = Instant::now().into_std();
        if returned {
            for point in 0..member.points.len() {
                let (point_state, property) = member.pair(point);
                if let Turn::After(wait) = point_state.writer.back(&property.options) {
                    self.schedule.write(seat, point, now + wait);
                }
            }
        }
    }

    pub(super) async fn tell_health(&mut self, seat: Seat) {
        let Some(member) = self.members.get_mut(&seat) else { return };
        let before = member.told.as_ref().map(|told| told.state);
        let Some(health) = member.new_health() else { return };
        let (device, state) = (&member.device.id, health.state);
        match &health.reason {
            _ if before == Some(state) => {
                debug!(%device, %state, reason = ?health.reason, "device")
            }
            Some(reason) => warn!(%device, %state, %reason, "device"),
            None => info!(%device, %state, "device"),
        }
        self.send(Report::State(seat, health)).await;
    }
}
