//! Where reported values go first: a file of fixed length beside the database.
//!
//! SQLite writes at least one page of 4 KiB for each commit; a changed number is a dozen octets. So a batch that only
//! reports is appended here as one frame, with one `pwrite`, and outlives the process. Its file was filled with zeros
//! once: syncing it writes data and no metadata, and a full disk does not stop it.
//!
//! A frame is its length (varint), a CRC-32, and its records. The checksum goes on from that of the frame before, the
//! first from the generation, which is a random number in the database: no frame of an earlier round, nor one that
//! followed a frame that is another now, is ever taken for a present one. What is on the disk is not written to again: after
//! a sync the next frame begins a new page, where a reader looks for it.
//!
//! When it is full, or rows come or go, the newest record of each row goes into the database, in one synced transaction
//! with a new generation. From then on nothing in the file counts, whether or not the process lives to write there.

mod record;
mod window;

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use device_model::Timestamp;
use integer_encoding::VarInt;

use self::record::{Reader, Record, encode, number};
use self::window::Window;
use crate::Reported;
use crate::store::{Durability, Row};

/// What the disk writes at least.
const PAGE: u64 = 4096;
/// Octets of zeros that are written at a time: a page, so that the kernel keeps the file in pages. It counts, and may write,
/// what it holds in larger pieces as a whole.
const FILL: usize = 4096;
/// Octets of a checksum.
const CRC: usize = 4;
/// Octets before a frame's records at most: of the longest length, and the checksum.
const HEAD: usize = 10 + CRC;

/// How much of a journal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalExtent {
    /// Frames that count, up to the first that does not check.
    pub frames: u64,
    /// Octets from the file's beginning to their end.
    pub octets: u64,
    /// Octets that fit.
    pub length: u64,
    /// The random number in the database that tells them from those of other rounds.
    pub generation: u64,
}

/// The newest record of each row that the database does not have, and where the next frame goes.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
    generation: u64,
    /// Frames end before.
    capacity: u64,
    newest: HashMap<u32, Place>,
    tail: Tail,
    unsynced: bool,
    /// A sync failed: what the kernel says is written may be nowhere.
    doubtful: bool,
    frame: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    pv: u64,
    /// Where in the file the record begins.
    at: u64,
}

/// What the next frame goes on from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tail {
    end: u64,
    chain: u32,
    /// The last frame's time.
    base: Timestamp,
    frames: u64,
}

impl Tail {
    fn first(generation: u64) -> Self {
        let chain = crc32fast::hash(&generation.to_le_bytes());
        Self { end: 0, chain, base: Timestamp::from_millis(0), frames: 0 }
    }

    fn page(self) -> u64 {
        self.end.next_multiple_of(PAGE)
    }
}

/// Why a journal was not read to its end.
#[derive(Debug)]
pub(super) enum Unread<E> {
    /// The disk.
    Io(io::Error),
    /// Frames that were there are not, or say nothing.
    Damaged(&'static str),
    /// Whoever takes the records did not take one.
    Taker(E),
}

impl<E> From<io::Error> for Unread<E> {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl Journal {
    /// Opens or makes the file, and finds what it holds of `generation`.
    pub(super) fn open(
        path: &Path,
        capacity: u64,
        generation: u64,
    ) -> Result<Self, Unread<std::convert::Infallible>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let length = file.metadata()?.len();
        let capacity = match fill(&file, length, capacity) {
            Ok(()) => {
                if length == 0
                    && let Some(directory) = path.parent()
                {
                    // Its name, too, outlives a power cut.
                    File::open(directory)?.sync_all()?;
                }
                capacity
            }
            // Without room for it every batch goes to the database, which needs what little there is.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                file.set_len(length)?;
                length
            }
            Err(error) => return Err(error.into()),
        };
        let mut journal = Self {
            file,
            generation,
            capacity,
            newest: HashMap::new(),
            tail: Tail::first(generation),
            unsynced: false,
            doubtful: false,
            frame: Vec::new(),
        };
        let mut newest = HashMap::new();
        journal.tail = journal.read(None, |at, record| {
            newest.insert(record.row, Place { pv: record.reported.pv, at });
            Ok(())
        })?;
        journal.newest = newest;
        // The last process may not have synced it.
        journal.unsynced = journal.tail.end > 0;
        Ok(journal)
    }

    /// How much it holds that counts.
    pub(super) fn extent(&self) -> JournalExtent {
        let Tail { end, frames, .. } = self.tail;
        JournalExtent { frames, octets: end, length: self.capacity, generation: self.generation }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.newest.is_empty()
    }

    /// Whether its records must go elsewhere before anything more comes.
    pub(super) fn is_doubtful(&self) -> bool {
        self.doubtful
    }

    /// The revision of what it holds of a row; 0: nothing.
    pub(super) fn revision(&self, row: u32) -> u64 {
        self.newest.get(&row).map_or(0, |place| place.pv)
    }

    /// The database has something newer of a row.
    pub(super) fn forget(&mut self, row: u32) {
        self.newest.remove(&row);
    }

    /// Appends what `rows` report as one frame; `false`: there is no room for it.
    ///
    /// # Errors
    /// It is not there.
    pub(super) fn append(&mut self, rows: &[Row<'_>], durability: Durability) -> io::Result<bool> {
        let reported = || {
            rows.iter().filter_map(|row| match row {
                Row::Reported { row, reported } => Some((*row, *reported)),
                _ => None,
            })
        };
        let Some(base) = reported().map(|(_, reported)| reported.received_at).next() else {
            return Ok(true);
        };
        // The head is written when the records' length is known.
        self.frame.clear();
        self.frame.resize(HEAD, 0);
        let apart = base.as_millis().wrapping_sub(self.tail.base.as_millis());
        number(apart, &mut self.frame);
        let mut places = Vec::with_capacity(rows.len());
        for (row, reported) in reported() {
            places.push((row, reported.pv, self.frame.len()));
            encode(row, reported, base, &mut self.frame);
        }
        let (start, chain) = self.seal();
        let length = u64::try_from(self.frame.len() - start).unwrap_or(u64::MAX);
        if self.tail.end.saturating_add(length) > self.capacity {
            return Ok(false);
        }
        let from = self.tail.end;
        if let Err(error) = self.write(start, durability) {
            // A frame that was refused must not be found by a later run; what comes next is written over it, too.
            let _ = self.file.write_all_at(&[0; HEAD], from);
            return Err(error);
        }
        for (row, pv, at) in places {
            let at = from + u64::try_from(at - start).unwrap_or(u64::MAX);
            self.newest.insert(row, Place { pv, at });
        }
        self.tail = Tail { end: from + length, chain, base, frames: self.tail.frames + 1 };
        match durability {
            Durability::Written => self.unsynced = true,
            Durability::Synced => self.synced(),
        }
        Ok(true)
    }

    /// Puts length and checksum before the records; where the frame begins in the buffer, and the checksum.
    fn seal(&mut self) -> (usize, u32) {
        let chain = crc32(self.tail.chain, &self.frame[HEAD..]);
        let (mut length, crc) = ([0; HEAD - CRC], chain.to_le_bytes());
        let digits = (self.frame.len() - HEAD).encode_var(&mut length);
        let start = HEAD - CRC - digits;
        self.frame[start..HEAD - CRC].copy_from_slice(&length[..digits]);
        self.frame[HEAD - CRC..HEAD].copy_from_slice(&crc);
        (start, chain)
    }

    fn write(&mut self, start: usize, durability: Durability) -> io::Result<()> {
        self.file.write_all_at(&self.frame[start..], self.tail.end)?;
        match durability {
            Durability::Written => Ok(()),
            Durability::Synced => self.file.sync_data().inspect_err(|_| self.doubtful = true),
        }
    }

    /// Brings every frame to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if self.unsynced {
            // Its times, too. Left dirty, they are the reason for Linux to write the file again once they are thirty
            // seconds old (`vm.dirty_expire_centisecs`), and with it the page that is being filled.
            self.file.sync_all().inspect_err(|_| self.doubtful = true)?;
            self.synced();
        }
        Ok(())
    }

    /// A page that is on the disk is not written to again.
    fn synced(&mut self) {
        self.unsynced = false;
        self.tail.end = self.tail.page();
    }

    /// Hands over the newest record of each row.
    pub(super) fn each<E>(
        &self,
        mut take: impl FnMut(u32, Reported) -> Result<(), E>,
    ) -> Result<(), E>
    where
        E: From<Unread<E>>,
    {
        if self.is_empty() {
            return Ok(());
        }
        let found = self.read(Some(self.tail), |at, Record { row, reported }| {
            match self.newest.get(&row) {
                Some(place) if place.at == at => take(row, reported),
                _ => Ok(()),
            }
        })?;
        // A frame that was written and cannot be read: the medium lost it.
        if (found.chain, found.base) != (self.tail.chain, self.tail.base) {
            let lost = "the journal lost what was written to it";
            return Err(Unread::Damaged(lost).into());
        }
        Ok(())
    }

    /// Starts anew: the database has everything, and knows `generation`.
    pub(super) fn restart(&mut self, generation: u64) {
        self.newest = HashMap::new();
        (self.generation, self.tail) = (generation, Tail::first(generation));
        (self.unsynced, self.doubtful) = (false, false);
    }

    /// Reads frame by frame, up to the first that does not check, or to `until`.
    fn read<E>(
        &self,
        until: Option<Tail>,
        mut take: impl FnMut(u64, Record) -> Result<(), E>,
    ) -> Result<Tail, Unread<E>> {
        let mut window = Window::new(&self.file)?;
        let mut tail = Tail::first(self.generation);
        while until.is_none_or(|until| tail.chain != until.chain) {
            // Behind what was synced the next frame begins a page.
            let start = match frame_at(&mut window, tail.end, tail.chain)? {
                None => frame_at(&mut window, tail.page(), tail.chain)?,
                found => found,
            };
            let Some((start, length, chain)) = start else { break };
            let payload = window.octets(start, length)?;
            let mut reader = Reader(payload);
            let senseless = || Unread::Damaged("a frame of the journal cannot be read");
            let apart: i64 = reader.number().ok_or_else(senseless)?;
            let base = Timestamp::from_millis(tail.base.as_millis().wrapping_add(apart));
            while !reader.0.is_empty() {
                let read = payload.len() - reader.0.len();
                let at = start + u64::try_from(read).unwrap_or(u64::MAX);
                let record = reader.record(base).ok_or_else(senseless)?;
                take(at, record).map_err(Unread::Taker)?;
            }
            let end = start + u64::try_from(payload.len()).unwrap_or(u64::MAX);
            tail = Tail { end, chain, base, frames: tail.frames + 1 };
        }
        Ok(tail)
    }
}

/// Looks for a frame at `at`: where its records begin, how many octets they have, and its checksum. `None`: there is
/// none.
fn frame_at(window: &mut Window<'_>, at: u64, chain: u32) -> io::Result<Option<(u64, usize, u32)>> {
    let head = window.octets(at, HEAD)?;
    let mut reader = Reader(head);
    let parts = reader.number::<u64>().zip(reader.array());
    let Some((length, crc)) = parts else { return Ok(None) };
    let start = at + u64::try_from(head.len() - reader.0.len()).unwrap_or(u64::MAX);
    if length == 0 || length > window.length.saturating_sub(start) {
        return Ok(None);
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    let crc = u32::from_le_bytes(crc);
    Ok((crc32(chain, window.octets(start, length)?) == crc).then_some((start, length, crc)))
}

fn crc32(chain: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(chain);
    hasher.update(payload);
    hasher.finalize()
}

/// Zeros up to `capacity`, on the disk: room that nobody else can take.
fn fill(file: &File, length: u64, capacity: u64) -> io::Result<()> {
    if length >= capacity {
        return Ok(());
    }
    let zeros = [0; FILL];
    let mut at = length;
    while at < capacity {
        let left = usize::try_from(capacity - at).unwrap_or(FILL).min(FILL);
        file.write_all_at(&zeros[..left], at)?;
        at += u64::try_from(left).unwrap_or(u64::MAX);
    }
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use device_model::{DataType, Quality, QualityCode, Value};

    use super::*;
    use crate::Uid;
    use crate::store::{SqliteStore, Store};

    fn store(directory: &Path) -> SqliteStore {
        let mut store = SqliteStore::open(&directory.join("twins.db")).unwrap();
        let id = "demo/pump".parse().unwrap();
        let name = device_model::PropertyName::new("speed").unwrap();
        let uid = Uid::new("u");
        let rows = [
            Row::Device { row: 1, id: &id, uid: &uid },
            Row::Property { row: 1, device: 1, name: &name, data_type: DataType::Int },
        ];
        store.commit(&rows, Durability::Synced).unwrap();
        store
    }

    fn report(store: &mut SqliteStore, value: i64) {
        let time = Timestamp::from_millis(value);
        let reported = Reported {
            value: Some(Value::Int(value)),
            quality: Quality::Good,
            code: QualityCode::Ok,
            source_time: None,
            sample_time: time,
            received_at: time,
            pv: value.unsigned_abs(),
        };
        let rows = [Row::Reported { row: 1, reported: &reported }];
        store.commit(&rows, Durability::Written).unwrap();
    }

    fn value(store: &mut SqliteStore) -> Option<Value> {
        store.load().unwrap().twins[0].properties[0].state.reported.clone()?.value
    }

    #[test]
    fn after_a_failed_sync_everything_goes_to_the_disk_anew() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        report(&mut store, 7);
        store.journal.doubtful = true;
        let generation = store.journal.generation;
        store.sync().unwrap();
        assert!(store.journal.is_empty() && !store.journal.doubtful, "it is in the database");
        assert_ne!(store.journal.generation, generation);
        store.journal.doubtful = true;
        report(&mut store, 8);
        assert_eq!(value(&mut store), Some(Value::Int(8)));
        report(&mut store, 9);
        assert!(!store.journal.is_empty(), "the journal takes them again");
        drop(store);
        let mut store = SqliteStore::open(&directory.path().join("twins.db")).unwrap();
        assert_eq!(value(&mut store), Some(Value::Int(9)));
    }

    #[test]
    fn what_the_disk_forgot_of_the_journal_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        report(&mut store, 7);
        report(&mut store, 8);
        store.journal.file.write_all_at(&[0xff; 8], 2).unwrap();
        store.journal.doubtful = true;
        let error = store.sync().unwrap_err();
        assert!(error.to_string().contains("lost what was written"), "{error}");
    }

    #[test]
    fn what_was_synced_is_not_written_to_again() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        report(&mut store, 1);
        store.sync().unwrap();
        assert_eq!(store.journal.tail.end, PAGE);
        report(&mut store, 2);
        report(&mut store, 3);
        assert!(store.journal.tail.end > PAGE && store.journal.tail.end < PAGE + 60);
        drop(store);
        let mut store = SqliteStore::open(&directory.path().join("twins.db")).unwrap();
        assert_eq!(value(&mut store), Some(Value::Int(3)), "found behind the gap");
    }

    #[test]
    fn frames_of_another_generation_do_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let mut store = store(directory.path());
        report(&mut store, 1);
        let path = directory.path().join("twins.journal");
        let other = Journal::open(&path, PAGE, store.journal.generation ^ 1).unwrap();
        assert!(other.is_empty());
        let same = Journal::open(&path, PAGE, store.journal.generation).unwrap();
        assert_eq!((same.newest.len(), same.tail), (1, store.journal.tail));
    }
}
