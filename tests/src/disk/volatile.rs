//! A disk with a cache that a power cut empties, as real ones have: what was written and not flushed since may be there
//! afterwards or not, each sector for itself, whatever the order was.
//!
//! A machine of QEMU has it over NBD (`nbd.rs`), which tells writes, flushes and forced writes apart.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use rand::RngExt;
use tokio::sync::Notify;
use tokio::time::timeout;

/// What a disk writes whole or not at all, in octets.
const SECTOR: usize = 512;

/// How long the writes may take that are still to come before a cut.
const FUSE: Duration = Duration::from_millis(300);

/// The disk. It starts without power.
#[derive(Debug)]
pub struct Volatile {
    state: Mutex<State>,
    cut: Notify,
}

#[derive(Debug)]
struct State {
    /// What is there whatever happens.
    durable: Vec<u8>,
    /// What a reader sees.
    seen: Vec<u8>,
    /// Writes since the last flush, in order.
    cached: Vec<Write>,
    powered: bool,
    /// So many writes more, and power goes.
    fuse: Option<u32>,
    counted: Counted,
}

#[derive(Debug)]
struct Write {
    at: usize,
    data: Vec<u8>,
    /// It was written through the cache.
    forced: bool,
}

/// What a disk was asked to do, and what its cuts took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Writes.
    pub writes: u64,
    /// Flushes, and writes that went through the cache.
    pub flushes: u64,
    /// Sectors that were in the cache when power went.
    pub cached: u64,
    /// Those of them that were lost.
    pub lost: u64,
}

/// What the cache kept of what it had at a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kept {
    /// Nothing: it wrote nothing by itself.
    None,
    /// Each sector or not, by chance.
    Some,
    /// All: power went a moment after the last write back.
    All,
}

impl Volatile {
    /// A disk that holds `image`.
    pub fn new(image: Vec<u8>) -> Self {
        let state = State {
            durable: image.clone(),
            seen: image,
            cached: Vec::new(),
            powered: false,
            fuse: None,
            counted: Counted::default(),
        };
        Self { state: Mutex::new(state), cut: Notify::new() }
    }

    /// A disk with an empty ext4 of `size` octets.
    ///
    /// # Errors
    /// mkfs.ext4 is missing, or does not like it.
    pub fn ext4(size: u64, folder: &Path) -> Result<Self> {
        let path = folder.join("disk.img");
        super::hostile::format(&path, size)?;
        let image = std::fs::read(&path)?;
        std::fs::remove_file(path)?;
        Ok(Self::new(image))
    }

    /// Gives it power.
    pub fn power(&self) {
        self.state().powered = true;
    }

    /// Takes its power: from this moment on it answers nothing, and its cache is gone.
    pub fn cut(&self) -> Instant {
        let mut state = self.state();
        state.cut_by_chance();
        Instant::now()
    }

    /// Takes its power after so many `writes` more: between writes and their flush, where a cut at any time would seldom
    /// come; or now, if they do not come.
    pub async fn cut_within(&self, writes: u32) -> Instant {
        self.state().fuse = Some(writes);
        // Either way it is cut now, if it was not.
        let _ = timeout(FUSE, self.cut.notified()).await;
        self.cut()
    }

    /// What it was asked so far.
    pub fn counted(&self) -> Counted {
        self.state().counted
    }

    pub(super) fn is_powered(&self) -> bool {
        self.state().powered
    }

    pub(super) fn len(&self) -> usize {
        self.state().seen.len()
    }

    pub(super) fn read(&self, at: usize, length: usize) -> Result<Vec<u8>> {
        let state = self.on()?;
        ensure!(at + length <= state.seen.len(), "a read behind the end");
        Ok(state.seen[at..at + length].to_vec())
    }

    pub(super) fn write(&self, at: usize, data: Vec<u8>, forced: bool) -> Result<()> {
        let mut state = self.on()?;
        ensure!(at + data.len() <= state.seen.len(), "a write behind the end");
        state.counted.writes += 1;
        state.counted.flushes += u64::from(forced);
        state.seen[at..at + data.len()].copy_from_slice(&data);
        state.cached.push(Write { at, data, forced });
        if let Some(left) = &mut state.fuse {
            *left = left.saturating_sub(1);
            if *left == 0 {
                state.cut_by_chance();
                self.cut.notify_one();
                bail!("power went");
            }
        }
        Ok(())
    }

    pub(super) fn flush(&self) -> Result<()> {
        let mut state = self.on()?;
        state.counted.flushes += 1;
        let State { durable, cached, .. } = &mut *state;
        for Write { at, data, .. } in cached.drain(..) {
            durable[at..at + data.len()].copy_from_slice(&data);
        }
        Ok(())
    }

    fn on(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state();
        if !state.powered {
            bail!("the disk has no power");
        }
        Ok(state)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut_by_chance(&mut self) {
        self.fuse = None;
        if !self.powered {
            return;
        }
        let mut random = rand::rng();
        let kept = match random.random_range(0..4) {
            0 => Kept::None,
            1 => Kept::All,
            _ => Kept::Some,
        };
        self.cut(kept, || random.random());
    }

    /// Loses what is not durable, but for what `kept` says; `chance` tosses a coin.
    fn cut(&mut self, kept: Kept, mut chance: impl FnMut() -> bool) {
        self.powered = false;
        for Write { at, data, forced } in self.cached.drain(..) {
            for (number, sector) in data.chunks(SECTOR).enumerate() {
                let stays = forced
                    || match kept {
                        Kept::None => false,
                        Kept::Some => chance(),
                        Kept::All => true,
                    };
                self.counted.cached += u64::from(!forced);
                self.counted.lost += u64::from(!stays);
                if stays {
                    let at = at + number * SECTOR;
                    self.durable[at..at + sector.len()].copy_from_slice(sector);
                }
            }
        }
        self.seen.clone_from(&self.durable);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> Volatile {
        let disk = Volatile::new(vec![0; 4 * SECTOR]);
        disk.power();
        disk
    }

    fn cut(disk: &Volatile, kept: Kept, chance: impl FnMut() -> bool) -> Vec<u8> {
        disk.state().cut(kept, chance);
        disk.power();
        disk.read(0, disk.len()).unwrap().chunks(SECTOR).map(|sector| sector[0]).collect()
    }

    #[test]
    fn what_was_flushed_stays_and_what_was_not_goes_sector_by_sector() {
        let disk = disk();
        disk.write(0, vec![1; SECTOR], false).unwrap();
        disk.flush().unwrap();
        disk.write(0, vec![2; 2 * SECTOR], false).unwrap();
        disk.write(2 * SECTOR, vec![3; SECTOR], true).unwrap();
        assert_eq!(disk.read(0, 1).unwrap(), [2], "a reader sees the cache");
        let mut coins = [false, true].into_iter();
        assert_eq!(cut(&disk, Kept::Some, || coins.next().unwrap()), [1, 2, 3, 0]);
        let counted = Counted { writes: 3, flushes: 2, cached: 2, lost: 1 };
        assert_eq!(disk.counted(), counted);
        disk.write(0, vec![4; SECTOR], false).unwrap();
        assert_eq!(cut(&disk, Kept::None, || true), [1, 2, 3, 0]);
        disk.write(0, vec![4; SECTOR], false).unwrap();
        assert_eq!(cut(&disk, Kept::All, || false), [4, 2, 3, 0]);
    }

    #[test]
    fn without_power_it_answers_nothing() {
        let disk = disk();
        disk.cut();
        assert!(disk.read(0, 1).is_err());
        assert!(disk.write(0, vec![1], true).is_err());
        assert!(disk.flush().is_err());
    }
}
