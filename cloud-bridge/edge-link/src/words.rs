//! The words of a route that KubeEdge's programs decide by. Each is exactly as they spell it.

/// Who speaks.
pub mod source {
    /// The edge's connection itself.
    pub const WEBSOCKET: &str = "websocket";
    /// The edge's kubelet: nodes, leases, pods, events and what pods refer to.
    pub const EDGED: &str = "edged";
    /// The edge's store of objects.
    pub const METAMANAGER: &str = "metamanager";
    /// The edge's twins.
    pub const TWIN: &str = "twin";
    /// The edge's event bus: messages of applications.
    pub const BUS: &str = "bus";
    /// The cloud's controller of nodes, pods and what they refer to; also whoever sends objects again.
    pub const EDGECONTROLLER: &str = "edgecontroller";
    /// The cloud's controller of devices.
    pub const DEVICECONTROLLER: &str = "devicecontroller";
    /// The cloud's end of the connection.
    pub const CLOUDHUB: &str = "cloudhub";
    /// Ours, on either end; KubeEdge's programs do not answer to it.
    pub const EDGETWIN: &str = "edgetwin";

    /// Sources that CloudCore takes from nobody but itself: a message of an edge that bears one is dropped there,
    /// unless it is a `response`.
    pub const OF_THE_CLOUD: [&str; 5] =
        [CLOUDHUB, "cloudStream", DEVICECONTROLLER, EDGECONTROLLER, "synccontroller"];
}

/// Who is meant.
pub mod group {
    /// Objects and what belongs to them, in both directions.
    pub const RESOURCE: &str = "resource";
    /// What the edge's kubelet says.
    pub const META: &str = "meta";
    /// The edge's twins. EdgeCore takes what has a parent there for a confirmation and nothing else.
    pub const TWIN: &str = "twin";
    /// Applications.
    pub const USER: &str = "user";
}

/// What is to be done.
pub mod operation {
    /// A new object; also for one that is known.
    pub const INSERT: &str = "insert";
    /// A changed object; also for one that is not known.
    pub const UPDATE: &str = "update";
    /// An object is gone.
    pub const DELETE: &str = "delete";
    /// A change to part of an object, as text.
    pub const PATCH: &str = "patch";
    /// A question for an object.
    pub const QUERY: &str = "query";
    /// A question for the members of a node's list of devices.
    pub const GET: &str = "get";
    /// An answer or an acknowledgement.
    pub const RESPONSE: &str = "response";
    /// Something went wrong; the content says what.
    pub const ERROR: &str = "error";
    /// The edge lives.
    pub const KEEPALIVE: &str = "keepalive";
    /// A message of an application, upwards.
    pub const UPLOAD: &str = "upload";

    /// Words that KubeEdge's connections swallow and answer by themselves; they never reach the other program.
    pub const SWALLOWED: [&str; 3] = ["config", "ping", "pong"];
}
