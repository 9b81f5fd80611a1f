//! The cells of the matrix: who is at each place.

use serde::Serialize;

/// Whose program it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// This project's.
    Ours,
    /// KubeEdge's; of mappers, one on grpc-go as KubeEdge's framework is.
    KubeEdge,
}

/// One of them. That our Modbus mapper registers with a real EdgeCore, the third, is part of the second and the fourth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cell {
    /// Our agent and our mapper under a real CloudCore.
    OurEdge,
    /// A real EdgeCore with our mapper under our bridge.
    OurCloud,
    /// Both ends real, with our mapper.
    OurMapper,
    /// Both ends ours, with a Go mapper.
    GoMapper,
}

impl Cell {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::OurEdge, Self::OurCloud, Self::OurMapper, Self::GoMapper];

    /// Its number in the matrix.
    pub fn number(self) -> u8 {
        match self {
            Self::OurEdge => 1,
            Self::OurCloud => 2,
            Self::OurMapper => 4,
            Self::GoMapper => 5,
        }
    }

    /// What it is, in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::OurEdge => "our agent and mapper, CloudCore",
            Self::OurCloud => "our bridge and mapper, EdgeCore",
            Self::OurMapper => "our mapper, CloudCore and EdgeCore",
            Self::GoMapper => "our bridge and agent, a Go mapper",
        }
    }

    /// Who serves nodes.
    pub fn cloud(self) -> Side {
        match self {
            Self::OurEdge | Self::OurMapper => Side::KubeEdge,
            Self::OurCloud | Self::GoMapper => Side::Ours,
        }
    }

    /// Who is the node.
    pub fn edge(self) -> Side {
        match self {
            Self::OurCloud | Self::OurMapper => Side::KubeEdge,
            Self::OurEdge | Self::GoMapper => Side::Ours,
        }
    }

    /// Who speaks to the machines.
    pub fn mapper(self) -> Side {
        match self {
            Self::GoMapper => Side::KubeEdge,
            _ => Side::Ours,
        }
    }
}
