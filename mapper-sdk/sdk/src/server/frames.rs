//! Shows the frames of a device to whoever asks on the mapper's socket.

use std::pin::Pin;

use dmi::proto::frames::frames_server::Frames;
use dmi::proto::frames::{Frame, WatchRequest};
use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{named, unknown};
use crate::fleet::{Order, Unwatched};

/// Asks the fleet for each reader.
#[derive(Debug)]
pub(crate) struct FrameService {
    orders: mpsc::Sender<Order>,
}

impl FrameService {
    pub(crate) const fn new(orders: mpsc::Sender<Order>) -> Self {
        Self { orders }
    }
}

#[tonic::async_trait]
impl Frames for FrameService {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<Frame, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let WatchRequest { device_name, device_namespace } = request.into_inner();
        let id = named(&device_namespace, &device_name)?;
        let (answer, answered) = oneshot::channel();
        let stopping = |_| Status::unavailable("the mapper stops");
        self.orders
            .send(Order::Watch(id.clone(), answer))
            .await
            .map_err(|_| Status::unavailable("the mapper stops"))?;
        let frames = answered.await.map_err(stopping)?.map_err(|unwatched| match unwatched {
            Unwatched::Unknown => unknown(&id),
            Unwatched::Unplaced => Status::failed_precondition(format!(
                "device {id} is on no wire: its description is refused"
            )),
            Unwatched::Crowded => Status::resource_exhausted(
                "too many watch the wire of this device; end another one first",
            ),
        })?;
        let frames = ReceiverStream::new(frames).map(|frame| Ok(frame.into()));
        Ok(Response::new(Box::pin(frames)))
    }
}
