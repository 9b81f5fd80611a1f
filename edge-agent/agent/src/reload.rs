//! Taking another configuration while the agent runs.

mod secrets;

use tokio::sync::watch;

use crate::AgentConfig;
use crate::config::differing;
pub(crate) use secrets::{Fixed, Secrets};

/// Keys that a running agent takes, beside those of [`Secrets`]; all others take effect at its next start. `log.level` is
/// the program's.
const LIVE: [&str; 4] = ["devices.leaseTtl", "log.level", "store.refresh", "store.sync"];

/// Gives a running agent another configuration.
#[derive(Clone, Debug)]
pub struct Reloader {
    started: AgentConfig,
    live: watch::Sender<AgentConfig>,
    secrets: Secrets,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Keys that changed and are in effect.
    pub applied: Vec<String>,
    /// Keys that are not as they were at the start, and take effect at the next one.
    pub at_next_start: Vec<String>,
    /// What is wrong in a file that the configuration names, with its key: what was read before is in force.
    pub kept: Vec<String>,
}

impl Reloader {
    /// For an agent that starts with `config` and has read `secrets`; its parts follow the second.
    pub(crate) fn new(
        config: AgentConfig,
        secrets: Secrets,
    ) -> (Self, watch::Receiver<AgentConfig>) {
        let (live, follow) = watch::channel(config.clone());
        (Self { started: config, live, secrets }, follow)
    }

    /// Takes of `config` what can be taken.
    pub fn reload(&self, config: AgentConfig) -> Reloaded {
        let live = |key: &String| LIVE.contains(&key.as_str());
        let mut reread = self.secrets.reread(&self.started, &config);
        let changed = differing(&self.live.borrow(), &config);
        let mut applied: Vec<_> = changed.into_iter().filter(live).collect();
        applied.append(&mut reread.applied);
        let mut at_next_start = differing(&self.started, &config);
        at_next_start.retain(|key| !live(key) && !reread.covers(key));
        at_next_start.append(&mut reread.at_next_start);
        at_next_start.sort();
        at_next_start.dedup();
        self.live.send_replace(config);
        Reloaded { applied, at_next_start, kept: reread.kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Span;

    #[test]
    fn what_can_be_taken_is_taken_and_the_rest_is_named_until_the_next_start() {
        let (reloader, follow) = Reloader::new(AgentConfig::default(), Secrets::default());
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
