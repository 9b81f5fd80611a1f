//! A mapper's `config.yaml`: KubeEdge's keys as they stand, ours under `edgetwin:`.
//!
//! ```yaml
//! grpc_server:
//!   socket_path: /etc/kubeedge/modbus.sock
//! common:
//!   name: modbus-mapper
//!   version: v1.13.0
//!   api_version: v1.0.0
//!   protocol: modbus
//!   address: 127.0.0.1
//!   edgecore_sock: /etc/kubeedge/dmi.sock
//! edgetwin:            # all optional; these are the defaults
//!   reconnectMin: 500ms
//!   reconnectMax: 60s
//!   restMin: 1s
//!   restMax: 60s
//!   stop: 700ms
//!   stateWindow: 60s  # at most two changes of a device's state are told within it; 0s: each is told
//!   metricsListen: /run/edgetwin/modbus-metrics.sock  # or 127.0.0.1:9464: GET /metrics there; nowhere by default
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use device_model::{Config, Problem, Problems, Scalar};
use serde_json::{Map, Value as Json};

use crate::backoff::Pace;
use crate::exporter::{MetricsPlace, WrongPlace};

/// What a mapper needs to know before it knows its devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapperConfig {
    /// Unique among the mappers of the node.
    pub name: String,
    /// Version of the mapper, for people.
    pub version: String,
    /// Version of its interface, for people.
    pub api_version: String,
    /// Protocol of its devices; `None`: the driver's own word.
    pub protocol: Option<String>,
    /// Where the mapper listens.
    pub socket: PathBuf,
    /// Where the agent listens.
    pub agent_socket: PathBuf,
    /// Waits before a lost wire is opened again.
    pub reconnect: Pace,
    /// Rests of a unit that does not answer.
    pub rest: Pace,
    /// At a stop: how long the transaction in flight may take, and then all safe values together. The mapper ends
    /// within twice that, and half a second.
    pub stop: Duration,
    /// At most two changes of a device's state are told within this time, so that one that flaps does not flood whoever
    /// watches; what holds at its end is told then. Zero: each change is told at once. One hour at most.
    pub state_window: Duration,
    /// Where `GET /metrics` is answered; none: nowhere.
    pub metrics: Option<MetricsPlace>,
    /// Keys of the file that mean nothing here, as paths.
    pub ignored: Vec<String>,
}

/// Keys that KubeEdge's own mappers have, and that mean nothing here.
const IDLE: [&str; 4] = ["common.address", "common.http_port", "apiVersion", "kind"];
const KNOWN: [&str; 6] = [
    "grpc_server.socket_path",
    "common.name",
    "common.version",
    "common.api_version",
    "common.protocol",
    "common.edgecore_sock",
];
const OURS: [&str; 6] =
    ["reconnectMin", "reconnectMax", "restMin", "restMax", "stop", "stateWindow"];
const METRICS: &str = "metricsListen";
/// A state that is held back for longer than this is no news any more.
const LONGEST_STATE_WINDOW: Duration = Duration::from_secs(3600);

impl MapperConfig {
    /// A mapper called `name` on `socket`, for the agent on `agent_socket`; the rest as by default.
    pub fn new(
        name: impl Into<String>,
        socket: impl Into<PathBuf>,
        agent_socket: impl Into<PathBuf>,
    ) -> Self {
        Self {
            name: name.into(),
            version: env!("CARGO_PKG_VERSION").into(),
            api_version: "v1.0.0".into(),
            protocol: None,
            socket: socket.into(),
            agent_socket: agent_socket.into(),
            reconnect: Pace { min: Duration::from_millis(500), max: Duration::from_secs(60) },
            rest: Pace { min: Duration::from_secs(1), max: Duration::from_secs(60) },
            stop: Duration::from_millis(700),
            state_window: Duration::from_secs(60),
            metrics: None,
            ignored: Vec::new(),
        }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read, is no YAML, misses a key, or has a wrong one under `edgetwin`. The message names file
    /// and key.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("{}: {error}", path.display()))?;
        Self::parse(&text).map_err(|mut problems| {
            problems.object = path.display().to_string();
            problems.into()
        })
    }

    /// Reads the text of such a file.
    ///
    /// # Errors
    /// Every problem found, each with key and remedy.
    pub fn parse(text: &str) -> Result<Self, Problems> {
        let mut problems = Vec::new();
        let file =
            serde_saphyr::from_str::<Option<Map<String, Json>>>(text).unwrap_or_else(|error| {
                problems.push(Problem::new("file", "", error.to_string(), "write a YAML mapping"));
                None
            });
        let mut file = Reader { file: file.unwrap_or_default(), problems };
        let name = file.required("common.name", "modbus-mapper");
        let socket = file.required("grpc_server.socket_path", "/etc/kubeedge/modbus.sock");
        let agent_socket = file.required("common.edgecore_sock", "/etc/kubeedge/dmi.sock");
        let mut config = Self::new(name, socket, agent_socket);
        config.protocol = file.text("common.protocol");
        config.version = file.text("common.version").unwrap_or(config.version);
        config.api_version = file.text("common.api_version").unwrap_or(config.api_version);
        file.ours(&mut config);
        config.ignored = file.ignored();
        match file.problems {
            problems if problems.is_empty() => Ok(config),
            problems => Err(Problems { object: "mapper configuration".into(), problems }),
        }
    }
}

struct Reader {
    file: Map<String, Json>,
    problems: Vec<Problem>,
}

impl Reader {
    fn text(&self, path: &str) -> Option<String> {
        let (section, key) = path.split_once('.')?;
        let text = match self.file.get(section)?.get(key)? {
            Json::String(text) => text.clone(),
            Json::Null => return None,
            other => other.to_string(),
        };
        (!text.is_empty()).then_some(text)
    }

    fn required(&mut self, path: &str, example: &str) -> String {
        self.text(path).unwrap_or_else(|| {
            let remedy = format!("write one such as {example}");
            self.problems.push(Problem::new(path, "", "missing", remedy));
            String::new()
        })
    }

    fn ours(&mut self, config: &mut MapperConfig) {
        let mut section = match self.file.get("edgetwin") {
            None | Some(Json::Null) => return,
            Some(Json::Object(section)) => section.clone(),
            Some(other) => {
                let remedy = "write keys such as reconnectMax: 60s";
                self.problems.push(Problem::new("edgetwin", other, "not a mapping", remedy));
                return;
            }
        };
        if let Some(place) = section.remove(METRICS) {
            match place.as_str().unwrap_or_default().parse() {
                Ok(place) => config.metrics = Some(place),
                Err(WrongPlace { reason, remedy }) => {
                    let field = format!("edgetwin.{METRICS}");
                    self.problems.push(Problem::new(field, place, reason, remedy));
                }
            }
        }
        let mut scalars = BTreeMap::new();
        for (key, value) in section {
            let scalar = match (&value, OURS.contains(&key.as_str())) {
                (Json::String(text), true) => Scalar::String(text.clone()),
                (Json::Number(number), true) => Scalar::Float(number.as_f64().unwrap_or(f64::NAN)),
                (_, known) => {
                    let reason = if known { "not a length of time" } else { "unknown key" };
                    let remedy = format!("use {}, each such as 5s, or {METRICS}", OURS.join(", "));
                    self.problems.push(Problem::new(
                        format!("edgetwin.{key}"),
                        value,
                        reason,
                        remedy,
                    ));
                    continue;
                }
            };
            scalars.insert(key, scalar);
        }
        let scalars = Config::new("edgetwin", scalars);
        let mut set = |key: &str, place: &mut Duration| match scalars.duration(key) {
            Ok(Some(span)) => *place = span,
            Ok(None) => {}
            Err(problem) => self.problems.push(problem),
        };
        set("reconnectMin", &mut config.reconnect.min);
        set("reconnectMax", &mut config.reconnect.max);
        set("restMin", &mut config.rest.min);
        set("restMax", &mut config.rest.max);
        set("stop", &mut config.stop);
        set("stateWindow", &mut config.state_window);
        if config.state_window > LONGEST_STATE_WINDOW {
            self.problems.push(scalars.problem(
                "stateWindow",
                "longer than an hour",
                "write a time up to 1h, such as 60s, or 0s to have each change told",
            ));
        }
        for (name, pace) in [("reconnect", config.reconnect), ("rest", config.rest)] {
            if pace.min.is_zero() || pace.min > pace.max {
                self.problems.push(Problem::new(
                    format!("edgetwin.{name}Min"),
                    format_args!("{:?}", pace.min),
                    format!("not between 0 and {name}Max = {:?}", pace.max),
                    "write a shorter time than the maximum, and more than 0",
                ));
            }
        }
    }

    fn ignored(&self) -> Vec<String> {
        let mut ignored = Vec::new();
        for (section, value) in &self.file {
            match value {
                _ if section == "edgetwin" => {}
                Json::Object(keys) => {
                    ignored.extend(keys.keys().map(|key| format!("{section}.{key}")));
                }
                _ => ignored.push(section.clone()),
            }
        }
        ignored.retain(|path| !KNOWN.contains(&path.as_str()) && !IDLE.contains(&path.as_str()));
        ignored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KUBEEDGE: &str = "
grpc_server:
  socket_path: /etc/kubeedge/modbus.sock
common:
  name: modbus-mapper
  version: v1.13.0
  api_version: v1.0.0
  protocol: modbus-tcp
  address: 127.0.0.1
  edgecore_sock: /etc/kubeedge/dmi.sock
  http_port: 7777
dev_init:
  mode: register
";

    #[test]
    fn kubeedges_file_is_read_as_it_stands() {
        let config = MapperConfig::parse(KUBEEDGE).unwrap();
        assert_eq!(config.name, "modbus-mapper");
        assert_eq!(config.protocol.as_deref(), Some("modbus-tcp"));
        assert_eq!(config.socket, Path::new("/etc/kubeedge/modbus.sock"));
        assert_eq!(config.agent_socket, Path::new("/etc/kubeedge/dmi.sock"));
        assert_eq!(config.ignored, ["dev_init.mode"]);
    }

    #[test]
    fn our_keys_are_read_and_a_wrong_one_is_an_error() {
        let text = format!("{KUBEEDGE}edgetwin:\n  reconnectMax: 10s\n  restMin: 250ms\n");
        let config = MapperConfig::parse(&text).unwrap();
        assert_eq!(config.reconnect.max, Duration::from_secs(10));
        assert_eq!(config.rest.min, Duration::from_millis(250));
        let text = format!("{KUBEEDGE}edgetwin:\n  reconectMax: 10s\n  restMin: 2m\n");
        let problems = MapperConfig::parse(&text).unwrap_err();
        let fields: Vec<_> = problems.problems.iter().map(|problem| &problem.field).collect();
        assert_eq!(fields, ["edgetwin.reconectMax", "edgetwin.restMin"]);
    }

    #[test]
    fn the_window_of_states_can_be_set_up_to_an_hour() {
        let window = |text: &str| {
            let text = format!("{KUBEEDGE}edgetwin:\n  stateWindow: {text}\n");
            MapperConfig::parse(&text).map(|config| config.state_window)
        };
        assert_eq!(MapperConfig::parse(KUBEEDGE).unwrap().state_window, Duration::from_secs(60));
        assert_eq!(window("5s").unwrap(), Duration::from_secs(5));
        assert_eq!(window("0").unwrap(), Duration::ZERO);
        assert_eq!(window("1h").unwrap(), Duration::from_secs(3600));
        let said = window("2h").unwrap_err().to_string();
        assert!(
            said.contains("edgetwin.stateWindow = \"2h\": longer than an hour; write"),
            "{said}"
        );
        let said = window("often").unwrap_err().to_string();
        assert!(said.contains("edgetwin.stateWindow = \"often\": not a length of time"), "{said}");
    }

    #[test]
    fn metrics_are_told_on_this_machine_alone() {
        let place = |text: &str| {
            let text = format!("{KUBEEDGE}edgetwin: {{metricsListen: {text}}}\n");
            MapperConfig::parse(&text).map(|config| config.metrics)
        };
        assert_eq!(MapperConfig::parse(KUBEEDGE).unwrap().metrics, None);
        let socket = MetricsPlace::Unix("/run/m.sock".into());
        assert_eq!(place("/run/m.sock").unwrap(), Some(socket));
        let loopback = MetricsPlace::Tcp("127.0.0.1:9464".parse().unwrap());
        assert_eq!(place("\"127.0.0.1:9464\"").unwrap(), Some(loopback));
        for wrong in ["\"0.0.0.0:9464\"", "9464", "localhost"] {
            let said = place(wrong).unwrap_err().to_string();
            assert!(said.contains("edgetwin.metricsListen = "), "{said}");
            assert!(said.contains("write 127.0.0.1:PORT or the path of a socket"), "{said}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let problems = MapperConfig::parse("").unwrap_err();
        assert_eq!(problems.problems.len(), 3, "{problems}");
        assert!(problems.to_string().contains("common.name: missing; write one such as"));
        assert!(MapperConfig::parse("- a list").is_err());
    }
}
