//! Keys of the metadata maps. `timestamp` and `type` are KubeEdge's, the others ours.

/// Down: when the value was desired; up: when it was sampled. Milliseconds since 1970.
pub const TIMESTAMP: &str = "timestamp";
/// The property's type in lower case: `int`, `float`, `double`, `string`, `boolean`, `bytes`. Our agent is not told it:
/// it knows the model.
pub const TYPE: &str = "type";
/// Down: the generation of the desired value; there exactly when something is desired.
pub const VERSION: &str = "version";
/// Down: which change it is, for logs: W3C Trace Context.
pub const TRACEPARENT: &str = "traceparent";
/// The number of an acknowledgement's code. Down: the last that the agent knows.
pub const ACK_CODE: &str = "ackCode";
/// The generation that an acknowledgement is about.
pub const ACK_VERSION: &str = "ackVersion";
/// Up: one line about an acknowledgement, for a person.
pub const ACK_DETAIL: &str = "ackDetail";
/// Up: `true` where a twin carries an acknowledgement and no reading.
pub const ACK_ONLY: &str = "ackOnly";
/// Up: `good`, `uncertain` or `bad`; good if it is missing.
pub const QUALITY: &str = "quality";
/// Up: why the quality is what it is; `ok` if it is missing from a good reading.
pub const QUALITY_CODE: &str = "qualityCode";
/// Up: the device's own time of the value. Milliseconds since 1970.
pub const SOURCE_TIMESTAMP: &str = "sourceTimestamp";
