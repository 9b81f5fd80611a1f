//! File systems that become full, read-only, or stand still: mounted below a temporary folder, and gone with the handle.
//!
//! That takes root and loop devices. Where they are missing, [`missing`] says so.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::process::output;

/// A mounted file system.
#[derive(Debug)]
pub struct Mount {
    folder: TempDir,
}

impl Mount {
    /// One in memory, of `size` octets.
    ///
    /// # Errors
    /// It may not be mounted.
    pub fn tmpfs(size: u64) -> Result<Self> {
        Self::of(tempfile::tempdir()?, |_| {
            Ok(["-t".into(), "tmpfs".into(), format!("-osize={size}"), "tmpfs".into()].to_vec())
        })
    }

    /// An ext4 of `size` octets on a loop device.
    ///
    /// # Errors
    /// It may not be mounted.
    pub fn ext4(size: u64) -> Result<Self> {
        Self::ext4_within(tempfile::tempdir()?, size)
    }

    /// The same on a loop device over memory: as quick as it gets, whatever this machine's own disk does.
    ///
    /// # Errors
    /// It may not be mounted.
    pub fn ext4_in_memory(size: u64) -> Result<Self> {
        Self::ext4_within(tempfile::tempdir_in("/dev/shm")?, size)
    }

    fn ext4_within(folder: TempDir, size: u64) -> Result<Self> {
        Self::of(folder, |folder| {
            let image = folder.join("image");
            format(&image, size)?;
            Ok([
                "-t".into(),
                "ext4".into(),
                "-oloop,errors=remount-ro".into(),
                image.display().to_string(),
            ]
            .to_vec())
        })
    }

    fn of(folder: TempDir, what: impl FnOnce(&Path) -> Result<Vec<String>>) -> Result<Self> {
        let mount = Self { folder };
        std::fs::create_dir(mount.path())?;
        output(Command::new("mount").args(what(mount.folder.path())?).arg(mount.path()))?;
        Ok(mount)
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    /// Fills it to the last octet; it has room again when the file is removed.
    ///
    /// # Errors
    /// It does not become full.
    pub fn fill(&self) -> Result<PathBuf> {
        let path = self.path().join("ballast");
        let mut file = File::create(&path)?;
        for piece in [vec![1_u8; 1 << 16], vec![1; 512]] {
            loop {
                match file.write_all(&piece).and_then(|()| file.sync_data()) {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::StorageFull => break,
                    Err(error) => return Err(error).context("ballast"),
                }
            }
        }
        Ok(path)
    }

    /// As the kernel does it when it finds that the file system, an ext4, is broken: whoever has a file open for writing
    /// can write no more. It stays so until it is mounted anew.
    ///
    /// # Errors
    /// The kernel cannot be told.
    pub fn break_down(&self) -> Result<()> {
        let source = output(Command::new("findmnt").args(["-no", "SOURCE"]).arg(self.path()))?;
        let device = source.trim().rsplit('/').next().unwrap_or_default();
        let fault = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        Ok(std::fs::write(fault, "a test wants it")?)
    }

    /// Mounts an ext4 anew, after a check of it. Nobody may have a file open there.
    ///
    /// # Errors
    /// It cannot be mended, or somebody has.
    pub fn mend(&mut self) -> Result<()> {
        output(Command::new("umount").arg(self.path()))?;
        let image = self.folder.path().join("image");
        // 1: there was something, and it is mended.
        output(Command::new("sh").args(["-c", "e2fsck -fp \"$0\" || [ $? -eq 1 ]"]).arg(&image))?;
        output(Command::new("mount").arg("-oloop,errors=remount-ro").arg(image).arg(self.path()))?;
        Ok(())
    }

    /// Lets nobody write any more, or again. The kernel refuses while somebody has a file open for writing.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn read_only(&self, read_only: bool) -> Result<()> {
        let options = if read_only { "-oremount,ro" } else { "-oremount,rw" };
        output(Command::new("mount").arg(options).arg(self.path())).map(drop)
    }

    /// Whoever writes waits from now on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn freeze(&self) -> Result<()> {
        freeze(&self.path())
    }

    /// Whoever waited goes on.
    ///
    /// # Errors
    /// It is not frozen.
    pub fn thaw(&self) -> Result<()> {
        thaw(&self.path())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Not frozen, or not mounted: nothing to do.
        let _ = self.thaw();
        let _ = output(Command::new("umount").arg("--lazy").arg(self.path()));
    }
}

pub(super) fn freeze(path: &Path) -> Result<()> {
    output(Command::new("fsfreeze").arg("-f").arg(path)).map(drop)
}

pub(super) fn thaw(path: &Path) -> Result<()> {
    output(Command::new("fsfreeze").arg("-u").arg(path)).map(drop)
}

/// What a test needs that mounts, and does not have here; told at once to whoever watches.
pub fn missing() -> Option<String> {
    let tried = Mount::ext4(4 << 20).and_then(|mount| mount.freeze());
    let why = format!("{:#}", tried.err()?);
    let said = format!(
        "\n!! SKIPPED: this test mounts file systems: {why}. Run it as root, with loop devices.\n"
    );
    // Past what catches the output of tests. Where it cannot be written nobody watches.
    let _ = io::stderr().write_all(said.as_bytes());
    Some(why)
}

/// Makes an ext4 of `size` octets in the file `image`.
pub(crate) fn format(image: &Path, size: u64) -> Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(image)?;
    file.set_len(size)?;
    output(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0", "-E", "nodiscard"]).arg(image))
        .map(drop)
}
