//! A file that is read from its beginning to its end in small steps, and asked for in large ones.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Octets that are asked for at a time, at least.
const STEP: usize = 64 * 1024;

/// Part of a file in memory.
pub(super) struct Window<'a> {
    file: &'a File,
    /// Octets of the file.
    pub(super) length: u64,
    /// Where the part begins.
    from: u64,
    part: Vec<u8>,
}

impl<'a> Window<'a> {
    /// On nothing yet.
    pub(super) fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self { file, length: file.metadata()?.len(), from: 0, part: Vec::new() })
    }

    /// `count` octets from `at` on; fewer where the file ends.
    pub(super) fn octets(&mut self, at: u64, count: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.length.saturating_sub(at)).unwrap_or(usize::MAX);
        let count = count.min(left);
        let place = |from| at.checked_sub(from).and_then(|place| usize::try_from(place).ok());
        let known = place(self.from).filter(|place| {
            self.part.len().checked_sub(*place).is_some_and(|behind| behind >= count)
        });
        if let Some(place) = known {
            return Ok(&self.part[place..place + count]);
        }
        self.part.resize(count.max(STEP).min(left), 0);
        self.from = at;
        if let Err(error) = self.file.read_exact_at(&mut self.part, at) {
            self.part.clear();
            return Err(error);
        }
        Ok(&self.part[..count])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_asked_for_is_what_the_file_has(
            length in 0..3 * STEP,
            asked in proptest::collection::vec((0..4 * STEP, 0..2 * STEP), 1..8),
        ) {
            let content: Vec<u8> = (0..=u8::MAX).cycle().take(length).collect();
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(&content, 0).unwrap();
            let mut window = Window::new(&file).unwrap();
            for (at, count) in asked {
                let wanted = &content[at.min(length)..(at + count).min(length)];
                prop_assert_eq!(window.octets(at as u64, count).unwrap(), wanted);
            }
        }
    }
}
