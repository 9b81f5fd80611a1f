//! In which order the bytes of a number come over the wire.

use std::fmt;

/// Byte order of a value that fills 1, 2 or 4 registers. `A` is the most significant byte; the letters are in
/// the order of the wire.
///
/// Two letters order one register, four a 32-bit value, eight a 64-bit value. The four-letter words name a rule
/// (bytes swapped within each register or not, low register first or not), so they fit every width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Order {
    /// Position of each wire byte in the big-endian value.
    places: [u8; 8],
    bytes: u8,
}

/// How a text is not an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderError {
    /// Not each of the first 2, 4 or 8 letters once.
    Letters,
    /// For another width; this many letters would do.
    Width(usize),
}

impl Order {
    /// Most significant byte first: what the Modbus specification says for one register.
    pub fn big_endian(bytes: u8) -> Self {
        Self::swapped(bytes, false, false)
    }

    /// `swap_bytes`: low byte first within each register. `swap_registers`: low register first.
    pub fn swapped(bytes: u8, swap_bytes: bool, swap_registers: bool) -> Self {
        let mut places = [0; 8];
        for (wire, place) in (0..bytes).zip(&mut places) {
            let register = if swap_registers { bytes / 2 - 1 - wire / 2 } else { wire / 2 };
            let byte = if swap_bytes { 1 - wire % 2 } else { wire % 2 };
            *place = register * 2 + byte;
        }
        Self { places, bytes }
    }

    /// Reads the letters, in any case, for a value of `bytes` bytes.
    ///
    /// # Errors
    /// They are no order, or one for another width.
    pub fn parse(text: &str, bytes: u8) -> Result<Self, OrderError> {
        let letters = text.trim().to_ascii_uppercase();
        let named = match letters.as_str() {
            "ABCD" => Some((false, false)),
            "BADC" => Some((true, false)),
            "CDAB" => Some((false, true)),
            "DCBA" => Some((true, true)),
            _ => None,
        };
        if let Some((swap_bytes, swap_registers)) = named {
            return Ok(Self::swapped(bytes, swap_bytes, swap_registers));
        }
        let count = letters.len();
        let mut places = [0; 8];
        let mut seen = 0u16;
        for (place, letter) in places.iter_mut().zip(letters.bytes()) {
            *place = letter.wrapping_sub(b'A');
            seen |= 1u16.checked_shl(u32::from(*place)).unwrap_or(0);
        }
        if !matches!(count, 2 | 4 | 8) || seen != (1u16 << count) - 1 {
            return Err(OrderError::Letters);
        }
        if count != usize::from(bytes) {
            return Err(OrderError::Width(usize::from(bytes)));
        }
        Ok(Self { places, bytes })
    }

    /// The number whose bytes came as `wire`; the low bytes of the result.
    pub fn gather(&self, wire: &[u16]) -> u64 {
        let mut value = 0;
        for (index, place) in (0..self.bytes).zip(self.places) {
            let word = wire.get(usize::from(index / 2)).copied().unwrap_or(0);
            let [high, low] = word.to_be_bytes();
            let byte = if index % 2 == 0 { high } else { low };
            value |= u64::from(byte) << (8 * (self.bytes - 1 - place));
        }
        value
    }

    /// Puts the low bytes of `value` on the wire; the inverse of [`Order::gather`].
    pub fn scatter(&self, value: u64, wire: &mut Vec<u16>) {
        let big_endian = value.to_be_bytes();
        let value = &big_endian[8 - usize::from(self.bytes)..];
        for pair in self.places[..usize::from(self.bytes)].chunks_exact(2) {
            let byte = |place: u8| value.get(usize::from(place)).copied().unwrap_or(0);
            wire.push(u16::from_be_bytes([byte(pair[0]), byte(pair[1])]));
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.places[..usize::from(self.bytes)]
            .iter()
            .try_for_each(|place| write!(f, "{}", char::from(b'A' + place)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_order(bytes: u8) -> impl Strategy<Value = Order> {
        Just((0..bytes).collect::<Vec<u8>>()).prop_shuffle().prop_map(move |letters| {
            let text: String = letters.iter().map(|place| char::from(b'A' + place)).collect();
            Order::parse(&text, bytes).unwrap()
        })
    }

    proptest! {
        #[test]
        fn gather_undoes_scatter(order in prop::sample::select(vec![2u8, 4, 8]).prop_flat_map(any_order), value: u64) {
            let value = value >> (64 - 8 * u32::from(order.bytes));
            let mut wire = Vec::new();
            order.scatter(value, &mut wire);
            prop_assert_eq!(wire.len(), usize::from(order.bytes / 2));
            prop_assert_eq!(order.gather(&wire), value);
            prop_assert_eq!(Order::parse(&order.to_string(), order.bytes), Ok(order));
        }

        #[test]
        fn no_text_makes_parsing_panic(text in ".{0,12}", bytes in prop::sample::select(vec![2u8, 4, 8])) {
            let _ = Order::parse(&text, bytes);
        }
    }

    /// 123.456f32 = 0x42F6E979 in each of the four orders that vendors use.
    #[test]
    fn the_four_common_orders() {
        for (order, wire) in [
            ("ABCD", [0x42F6, 0xE979]),
            ("BADC", [0xF642, 0x79E9]),
            ("CDAB", [0xE979, 0x42F6]),
            ("dcba", [0x79E9, 0xF642]),
        ] {
            let order = Order::parse(order, 4).unwrap();
            assert_eq!(f32::from_bits(u32::try_from(order.gather(&wire)).unwrap()), 123.456);
        }
    }

    #[test]
    fn a_four_letter_word_fits_every_width() {
        assert_eq!(Order::parse("CDAB", 8).unwrap().to_string(), "GHEFCDAB");
        assert_eq!(Order::parse("BADC", 8).unwrap().to_string(), "BADCFEHG");
        assert_eq!(Order::parse("DCBA", 2).unwrap().to_string(), "BA");
        assert_eq!(Order::parse("CDAB", 2).unwrap().to_string(), "AB");
    }

    #[test]
    fn other_letters_are_refused() {
        for text in ["", "A", "AABB", "ABCE", "ABCDEF", "ABCDEFGHI", "AB CD", "αβ"] {
            assert_eq!(Order::parse(text, 4), Err(OrderError::Letters), "{text}");
        }
        assert_eq!(Order::parse("BA", 4), Err(OrderError::Width(4)));
        assert_eq!(Order::parse("ACBD", 8), Err(OrderError::Width(8)));
    }
}
