//! Modbus TCP framing: the seven bytes of the MBAP header before each PDU.

use super::MAX_PDU;

/// Bytes before the PDU: transaction, protocol, length, unit.
pub const HEADER: usize = 7;

/// A frame found at the start of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Chosen by the client, echoed by the server.
    pub transaction: u16,
    /// Which unit.
    pub unit: u8,
    /// Function code and parameters.
    pub pdu: &'a [u8],
    /// How many bytes of the buffer the frame took.
    pub size: usize,
}

/// The header is not one of Modbus, so it is not known where the next frame begins: the connection must be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a Modbus header: close the connection")]
pub struct NotModbus;

/// Looks for one frame at the start of `buffer`; `None` while bytes are missing.
///
/// # Errors
/// The protocol identifier is not 0, or the length is outside of 2 to 254.
pub fn decode(buffer: &[u8]) -> Result<Option<Frame<'_>>, NotModbus> {
    let Some(&[t1, t0, p1, p0, l1, l0]) = buffer.first_chunk() else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    if (p1, p0) != (0, 0) || !(2..=MAX_PDU + 1).contains(&length) {
        return Err(NotModbus);
    }
    let size = HEADER - 1 + length;
    let Some((&unit, pdu)) = buffer.get(HEADER - 1..size).and_then(<[u8]>::split_first) else {
        return Ok(None);
    };
    Ok(Some(Frame { transaction: u16::from_be_bytes([t1, t0]), unit, pdu, size }))
}

/// The header of a frame whose PDU has `pdu_length` bytes.
pub fn header(transaction: u16, unit: u8, pdu_length: usize) -> [u8; HEADER] {
    let [t1, t0] = transaction.to_be_bytes();
    let [l1, l0] = u16::try_from(pdu_length + 1).unwrap_or(u16::MAX).to_be_bytes();
    [t1, t0, 0, 0, l1, l0, unit]
}

/// Appends one frame to `out`.
pub fn encode(transaction: u16, unit: u8, pdu: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&header(transaction, unit, pdu.len()));
    out.extend_from_slice(pdu);
}
