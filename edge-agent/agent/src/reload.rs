//! Taking another configuration while the agent runs.

use tokio::sync::watch;

use crate::AgentConfig;
use crate::config::differing;

/// Keys that a running agent takes; all others take effect at its next start. `log.level` is the program's.
const LIVE: [&str; 4] = ["devices.leaseTtl", "log.level", "store.refresh", "store.sync"];

/// Gives a running agent another configuration.
#[derive(Clone, Debug)]
pub struct Reloader {
    started: AgentConfig,
    live: watch::Sender<AgentConfig>,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that changed and are in effect.
    pub applied: Vec<String>,
    /// Keys that are not as they were at the start, and take effect at the next one.
    pub at_next_start: Vec<String>,
}

impl Reloader {
    /// For an agent that starts with `config`; its parts follow the second.
    pub(crate) fn new(config: AgentConfig) -> (Self, watch::Receiver<AgentConfig>) {
        let (live, follow) = watch::channel(config.clone());
        (Self { started: config, live }, follow)
    }

    /// Takes of `config` what can be taken.
    pub fn reload(&self, config: AgentConfig) -> Reloaded {
        let live = |key: &String| LIVE.contains(&key.as_str());
        let applied = differing(&self.live.borrow(), &config).into_iter().filter(live).collect();
        let mut at_next_start = differing(&self.started, &config);
        at_next_start.retain(|key| !live(key));
        self.live.send_replace(config);
        Reloaded { applied, at_next_start }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    #[test]
    fn what_can_be_taken_is_taken_and_the_rest_is_named_until_the_next_start() {
        let (reloader, follow) = Reloader::new(AgentConfig::default());
        let mut config = AgentConfig::default();
        config.store.sync = Span::secs(3);
        config.mqtt.listen.set_port(1884);
        let reloaded = reloader.reload(config.clone());
        assert_eq!(reloaded.applied, ["store.sync"]);
        assert_eq!(reloaded.at_next_start, ["mqtt.listen"]);
        assert_eq!(follow.borrow().store.sync, Span::secs(3));
        let again = reloader.reload(config);
        assert_eq!((again.applied, again.at_next_start), (vec![], vec!["mqtt.listen".to_owned()]));
        let back = reloader.reload(AgentConfig::default());
        assert_eq!((back.applied, back.at_next_start), (vec!["store.sync".to_owned()], vec![]));
    }
}
