//! A whole machine, of QEMU: a kernel of Debian, programs of ours, and a [`Volatile`] disk. It boots in seconds and ends
//! when its power does.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::timeout;

use crate::disk::nbd::Server;
use crate::disk::volatile::Volatile;
use crate::peers;
use crate::process::{Process, output};

/// How long a machine may say nothing. It is emulated, on a processor that others use, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Begins each machine; the rest of its `init` is the caller's, who finds the disk in `/disk` and may speak through
/// `$SAY`. The disk is checked first, as where `fsck.repair=yes` stands on the kernel's command line: ext4 does not mount
/// after a cut that tore the last block of its journal.
const INIT: &str = "#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
for module in virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci virtio_blk virtio_console; do
    insmod /modules/$module.ko
done
ip link set lo up
e2fsck -y /dev/vda
mount -t ext4 /dev/vda /disk || exit
SAY=/dev/vport0p1
";

/// Where Debian has it.
const E2FSCK: &str = "/sbin/e2fsck";

/// What machines boot from.
#[derive(Debug)]
pub struct Image {
    folder: TempDir,
    kernel: PathBuf,
}

impl Image {
    /// With `programs` in `/bin`, `files` below `/etc`, and `init`, lines of a shell that run when the disk is there.
    ///
    /// # Errors
    /// A part is missing.
    pub async fn build(
        programs: &[(&str, &Path)],
        files: &[(&str, String)],
        init: &str,
    ) -> Result<Self> {
        let parts = peers::machine().await?;
        let folder = tempfile::tempdir()?;
        let root = folder.path().join("root");
        for name in ["bin", "dev", "disk", "etc", "modules", "proc", "sys", "tmp"] {
            fs::create_dir_all(root.join(name))?;
        }
        for part in fs::read_dir(&parts)? {
            let (path, name) = part.map(|part| (part.path(), part.file_name()))?;
            match path.extension() {
                Some(_) => fs::copy(path, root.join("modules").join(name))?,
                None if name == "busybox" => fs::copy(path, root.join("bin/busybox"))?,
                None => continue,
            };
        }
        add_program(&root, "e2fsck", Path::new(E2FSCK))?;
        for (name, path) in programs {
            add_program(&root, name, path)?;
        }
        for (name, text) in files {
            let path = root.join("etc").join(name);
            fs::create_dir_all(path.parent().context("a file below /etc")?)?;
            fs::write(path, text)?;
        }
        fs::write(root.join("init"), format!("{INIT}{init}\npoweroff -f\n"))?;
        fs::set_permissions(root.join("init"), Permissions::from_mode(0o755))?;
        let pack = "find . | cpio --quiet -o -H newc -R 0:0 > ../initrd";
        output(Command::new("sh").args(["-c", pack]).current_dir(&root))?;
        fs::remove_dir_all(&root)?;
        Ok(Self { folder, kernel: parts.join("vmlinuz") })
    }
}

/// A program as small as it gets, and the libraries that it is linked to.
fn add_program(root: &Path, name: &str, path: &Path) -> Result<()> {
    output(Command::new("strip").arg("-o").arg(root.join("bin").join(name)).arg(path))?;
    // "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)", "/lib64/ld-linux-x86-64.so.2 (0x…)"
    let listed = output(Command::new("ldd").arg(path))?;
    for library in listed.split_whitespace().filter(|word| word.starts_with('/')) {
        let copy = root.join(library.trim_start_matches('/'));
        fs::create_dir_all(copy.parent().context("a library has a folder")?)?;
        fs::copy(library, copy)?;
    }
    Ok(())
}

/// A running machine. Dropping it takes its power.
#[derive(Debug)]
pub struct Machine {
    qemu: Process,
    lines: Lines<BufReader<UnixStream>>,
    _disk: Server,
    folder: TempDir,
}

impl Machine {
    /// Boots `image` with `disk`, which gets power.
    ///
    /// # Errors
    /// QEMU does not start.
    pub async fn boot(image: &Image, disk: &Arc<Volatile>) -> Result<Self> {
        Self::boot_at(image, disk, "utc").await
    }

    /// The same with a clock that begins at `time`, as QEMU's option `-rtc base=` takes it.
    ///
    /// # Errors
    /// QEMU does not start.
    pub async fn boot_at(image: &Image, disk: &Arc<Volatile>, time: &str) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let place = |name| folder.path().join(name);
        disk.power();
        let server = Server::start(disk.clone(), &place("disk"))?;
        let listener = UnixListener::bind(place("says"))?;
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args("-M q35 -cpu max -accel tcg -smp 1 -m 512 -nodefaults -display none".split(' '))
            .args(["-rtc", &format!("base={time}")])
            .args(["-no-reboot", "-append", "console=ttyS0 quiet panic=-1", "-kernel"])
            .arg(&image.kernel)
            .arg("-initrd")
            .arg(image.folder.path().join("initrd"))
            .arg("-serial")
            .arg(format!("file:{}", place("console").display()))
            .arg("-drive")
            .arg(format!("file=nbd:unix:{},format=raw,if=virtio", place("disk").display()))
            .args(["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=says"])
            .arg("-chardev")
            .arg(format!("socket,id=says,path={}", place("says").display()));
        let mut qemu = Process::start(&mut qemu, &place("qemu.log"))?;
        let accepted = timeout(PATIENCE, listener.accept()).await;
        let log = || fs::read_to_string(place("qemu.log")).unwrap_or_default();
        let (stream, _) = match accepted {
            Ok(accepted) => accepted?,
            Err(_) => bail!("QEMU does not start: running {}: {}", qemu.is_running()?, log()),
        };
        Ok(Self { qemu, lines: BufReader::new(stream).lines(), _disk: server, folder })
    }

    /// What it says next.
    ///
    /// # Errors
    /// It ended, or says nothing; the error has what its kernel and programs wrote.
    pub async fn line(&mut self) -> Result<String> {
        let line = timeout(PATIENCE, self.lines.next_line()).await;
        let line = line
            .context("the machine says nothing")
            .and_then(|line| line?.context("the machine ended"));
        line.with_context(|| self.console())
    }

    /// Takes its power after that of its disk; what it had said before.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub async fn cut(mut self) -> Result<Vec<String>> {
        self.qemu.crash()?;
        let mut rest = Vec::new();
        while let Ok(Some(line)) = self.lines.next_line().await {
            rest.push(line);
        }
        Ok(rest)
    }

    /// What its kernel and its programs wrote for people.
    pub fn console(&self) -> String {
        let console = fs::read(self.folder.path().join("console")).unwrap_or_default();
        let log = fs::read(self.folder.path().join("qemu.log")).unwrap_or_default();
        format!("{}{}", String::from_utf8_lossy(&console), String::from_utf8_lossy(&log))
    }
}
