//! The part of the network block device's protocol that QEMU asks for, on a Unix socket.
//!
//! <https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md>: fixed newstyle negotiation without TLS, one
//! export, simple replies.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

use super::volatile::Volatile;

const GREETING: &[u8; 8] = b"NBDMAGIC";
const OPTION: u64 = u64::from_be_bytes(*b"IHAVEOPT");
const OPTION_REPLY: u64 = 0x0003_e889_0455_65a9;
const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;

/// NBD_FLAG_FIXED_NEWSTYLE and NBD_FLAG_NO_ZEROES.
const HANDSHAKE: u16 = 1 | 2;
/// NBD_FLAG_HAS_FLAGS, NBD_FLAG_SEND_FLUSH and NBD_FLAG_SEND_FUA: there is a cache, and both ways through it.
const EXPORT: u16 = 1 | 4 | 8;
const OPT_ABORT: u32 = 2;
const OPT_GO: u32 = 7;
const REP_ACK: u32 = 1;
const REP_INFO: u32 = 3;
/// NBD_REP_ERR_UNSUP: the client goes on without that option.
const REP_UNKNOWN: u32 = 0x8000_0001;
const READ: u16 = 0;
const WRITE: u16 = 1;
const LEAVE: u16 = 2;
const FLUSH: u16 = 3;
/// NBD_CMD_FLAG_FUA: through the cache.
const FORCED: u16 = 1;
const EINVAL: u32 = 22;
/// Longer options and requests are somebody else's.
const LONGEST: usize = 32 << 20;

/// Serves a disk until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    _tasks: JoinSet<()>,
}

impl Server {
    /// On `socket`, to one client at a time, until the disk has no power.
    pub(crate) fn start(disk: Arc<Volatile>, socket: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| socket.display().to_string())?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // It ends with the client, or with the disk's power: then there is no answer any more, not even that.
                if serve(&disk, stream).await.is_err() && !disk.is_powered() {
                    return std::future::pending().await;
                }
            }
        });
        Ok(Self { _tasks: tasks })
    }
}

async fn serve(disk: &Volatile, stream: UnixStream) -> Result<()> {
    let mut client = BufStream::new(stream);
    client.write_all(GREETING).await?;
    client.write_u64(OPTION).await?;
    client.write_u16(HANDSHAKE).await?;
    client.flush().await?;
    client.read_u32().await?;
    if !negotiate(disk, &mut client).await? {
        return Ok(());
    }
    while transmit(disk, &mut client).await? {}
    Ok(())
}

/// Whether the client wants the disk.
async fn negotiate(disk: &Volatile, client: &mut BufStream<UnixStream>) -> Result<bool> {
    loop {
        if client.read_u64().await? != OPTION {
            bail!("no option");
        }
        let option = client.read_u32().await?;
        octets(client).await?;
        match option {
            OPT_GO => {
                let mut export = 0_u16.to_be_bytes().to_vec();
                export.extend(u64::try_from(disk.len())?.to_be_bytes());
                export.extend(EXPORT.to_be_bytes());
                answer(client, option, REP_INFO, &export).await?;
                answer(client, option, REP_ACK, &[]).await?;
                return Ok(true);
            }
            OPT_ABORT => {
                answer(client, option, REP_ACK, &[]).await?;
                return Ok(false);
            }
            _ => answer(client, option, REP_UNKNOWN, &[]).await?,
        }
    }
}

async fn answer(
    client: &mut BufStream<UnixStream>,
    option: u32,
    kind: u32,
    data: &[u8],
) -> Result<()> {
    client.write_u64(OPTION_REPLY).await?;
    client.write_u32(option).await?;
    client.write_u32(kind).await?;
    client.write_u32(u32::try_from(data.len())?).await?;
    client.write_all(data).await?;
    Ok(client.flush().await?)
}

/// One request; whether the client stays.
async fn transmit(disk: &Volatile, client: &mut BufStream<UnixStream>) -> Result<bool> {
    if client.read_u32().await? != REQUEST {
        bail!("no request");
    }
    let flags = client.read_u16().await?;
    let kind = client.read_u16().await?;
    let cookie = client.read_u64().await?;
    let at = usize::try_from(client.read_u64().await?)?;
    let (mut error, mut read) = (0, Vec::new());
    match kind {
        READ => {
            let length = usize::try_from(client.read_u32().await?)?;
            read = disk.read(at, length)?;
        }
        WRITE => {
            let data = octets(client).await?;
            disk.write(at, data, flags & FORCED != 0)?;
        }
        FLUSH => {
            client.read_u32().await?;
            disk.flush()?;
        }
        LEAVE => return Ok(false),
        _ => {
            client.read_u32().await?;
            error = EINVAL;
        }
    }
    client.write_u32(REPLY).await?;
    client.write_u32(error).await?;
    client.write_u64(cookie).await?;
    client.write_all(&read).await?;
    client.flush().await?;
    Ok(true)
}

/// A length and so many octets.
async fn octets(client: &mut BufStream<UnixStream>) -> Result<Vec<u8>> {
    let length = usize::try_from(client.read_u32().await?)?;
    if length > LONGEST {
        bail!("{length} octets are too many");
    }
    let mut data = vec![0; length];
    client.read_exact(&mut data).await?;
    Ok(data)
}
