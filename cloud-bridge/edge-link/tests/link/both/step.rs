//! What may happen, and how often.

use super::Dice;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    CloudDesires,
    LocalDesires,
    Reports,
    Deletes,
    Makes,
    Watches,
    Records,
    Collects,
    Connects,
    Sends,
    Delivers,
    Acknowledges,
    Uploads,
    Arrives,
    TurnComes,
    Writes,
    Confirms,
    Keeps,
    Loses,
    Doubles,
    SecondsPass,
    HourPasses,
    Cut,
    KillsAgent,
    KillsBridge,
    AnotherReplica,
    KillsApi,
    ApiComes,
    CopiesStore,
    LosesStore,
    RestoresStore,
}

/// What people, devices and programs do, each as often as it stands here.
pub const WORK: &[(Step, usize)] = {
    use Step::*;
    &[
        (CloudDesires, 2),
        (LocalDesires, 1),
        (Reports, 4),
        (Deletes, 1),
        (Makes, 4),
        (Watches, 6),
        (Records, 4),
        (Collects, 1),
        (Connects, 12),
        (Sends, 5),
        (Delivers, 12),
        (Acknowledges, 10),
        (Uploads, 5),
        (Arrives, 12),
        (TurnComes, 12),
        (Writes, 12),
        (Confirms, 12),
        (Keeps, 2),
        (SecondsPass, 1),
        (ApiComes, 8),
        (CopiesStore, 1),
    ]
};

/// What goes wrong.
pub const FAULTS: &[(Step, usize)] = {
    use Step::*;
    &[
        (Loses, 2),
        (Doubles, 3),
        (SecondsPass, 3),
        (HourPasses, 1),
        (Cut, 2),
        (KillsAgent, 1),
        (KillsBridge, 1),
        (AnotherReplica, 1),
        (KillsApi, 1),
        (LosesStore, 1),
        (RestoresStore, 2),
    ]
};

/// One of `steps`, each as often as it says.
pub fn pick(steps: &[(Step, usize)], dice: &mut Dice) -> Step {
    let mut left = dice.roll(steps.iter().map(|(_, often)| often).sum());
    let found = steps.iter().find(|(_, often)| {
        let is_it = left < *often;
        left = left.saturating_sub(*often);
        is_it
    });
    found.map_or(Step::SecondsPass, |(step, _)| *step)
}

/// How much came of it all, before the rest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    pub delivered: u64,
    pub written: u64,
    pub confirmed: u64,
    /// The cloud knew more than a store that was restored.
    pub behind: u64,
}

impl Done {
    pub fn add(&mut self, other: Self) {
        self.delivered += other.delivered;
        self.written += other.written;
        self.confirmed += other.confirmed;
        self.behind += other.behind;
    }
}
