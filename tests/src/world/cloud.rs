//! A world whose gateway belongs to a cloud.

use edge_agent::config::Cloud;

use super::World;

/// The node that every world is.
pub const NODE: &str = "test";

impl World {
    /// From its next start on the agent belongs to this cloud; its papers lie in the world's folder.
    pub fn join(&mut self, cloud: Cloud) {
        let dir = self.folder.path().join("cloud");
        let (ca, cert, key) = (dir.join("ca.crt"), dir.join("node.crt"), dir.join("node.key"));
        self.cloud = Cloud { ca, cert, key, ..cloud };
    }

    /// The agent belongs to no cloud from its next start on.
    pub fn leave(&mut self) {
        self.cloud = Cloud::default();
    }

    /// The agent begins with an empty store at its next start.
    ///
    /// # Errors
    /// The store cannot be removed.
    pub fn lose_store(&self) -> anyhow::Result<()> {
        Ok(std::fs::remove_dir_all(self.folder.path().join("store"))?)
    }
}
