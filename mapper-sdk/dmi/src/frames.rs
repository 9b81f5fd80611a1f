//! The frames that go over a device's wire: how a mapper of ours shows them, and how the agent asks for them.

use std::path::Path;
use std::time::Duration;

use device_model::{DeviceId, Timestamp};
use tokio_stream::{Stream, StreamExt};
use tonic::Status;

use crate::connect::channel;
use crate::proto::frames as proto;
use crate::proto::frames::frames_client::FramesClient;

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the device.
    Sent,
    /// From the device: the answer that was waited for.
    Received,
    /// From the wire: no answer that anybody waited for.
    Discarded,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// When it went or came.
    pub time: Timestamp,
    /// Which way.
    pub direction: Direction,
    /// Since the last frame that was sent; none for one that is sent, and where nobody looked then.
    pub after: Option<Duration>,
    /// All of it.
    pub octets: Vec<u8>,
    /// Frames that the reader was too slow for, right before this one.
    pub lost: u64,
}

/// Asks the mapper on the socket `path` for the frames of `device`, from now on. It has `timeout` to begin.
///
/// # Errors
/// `UNIMPLEMENTED`: the mapper shows no frames. `NOT_FOUND`: it does not have the device. `RESOURCE_EXHAUSTED`: too many
/// watch that wire.
pub async fn watch(
    path: &Path,
    device: &DeviceId,
    timeout: Duration,
) -> Result<impl Stream<Item = Result<Frame, Status>> + Send + use<>, Status> {
    let request = proto::WatchRequest {
        device_name: device.name().into(),
        device_namespace: device.namespace().into(),
    };
    let answer = FramesClient::new(channel(path, timeout)).watch(request).await?;
    Ok(answer.into_inner().map(|frame| frame.and_then(Frame::try_from)))
}

impl From<Frame> for proto::Frame {
    fn from(frame: Frame) -> Self {
        let direction = match frame.direction {
            Direction::Sent => proto::Direction::Sent,
            Direction::Received => proto::Direction::Received,
            Direction::Discarded => proto::Direction::Discarded,
        };
        let micros = |after: Duration| u64::try_from(after.as_micros()).unwrap_or(u64::MAX);
        Self {
            time_ms: frame.time.as_millis(),
            direction: direction.into(),
            after_us: frame.after.map(micros),
            octets: frame.octets,
            lost: frame.lost,
        }
    }
}

impl TryFrom<proto::Frame> for Frame {
    type Error = Status;

    fn try_from(frame: proto::Frame) -> Result<Self, Status> {
        let direction = match frame.direction() {
            proto::Direction::Sent => Direction::Sent,
            proto::Direction::Received => Direction::Received,
            proto::Direction::Discarded => Direction::Discarded,
            proto::Direction::Unspecified => {
                return Err(Status::internal("the mapper sent a frame without a direction"));
            }
        };
        Ok(Self {
            time: Timestamp::from_millis(frame.time_ms),
            direction,
            after: frame.after_us.map(Duration::from_micros),
            octets: frame.octets,
            lost: frame.lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(
            millis in any::<i64>(),
            direction in prop::sample::select(vec![
                Direction::Sent, Direction::Received, Direction::Discarded,
            ]),
            micros in prop::option::of(any::<u64>()),
            octets in prop::collection::vec(any::<u8>(), 0..300),
            lost in any::<u64>(),
        ) {
            let time = Timestamp::from_millis(millis);
            let after = micros.map(Duration::from_micros);
            let frame = Frame { time, direction, after, octets, lost };
            let again = Frame::try_from(proto::Frame::from(frame.clone())).unwrap();
            prop_assert_eq!(again, frame);
        }
    }
}
