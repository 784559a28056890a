//! How much memory a zstd file takes to unpack.

use crate::facts::Bytes;

/// No head of a zstd frame is longer.
pub const FRAME: usize = 18;

/// How far back the first frame looks, from the head of the file; none if it is no such head.
/// RFC 8878, section 3.1.1.1.
#[must_use]
pub fn zstd_window(start: &[u8]) -> Option<Bytes> {
    let head = start.strip_prefix(&[0x28, 0xb5, 0x2f, 0xfd])?;
    let (descriptor, rest) = head.split_first()?;
    let single = descriptor & 0x20 != 0;
    if !single {
        let window = u64::from(*rest.first()?);
        let base = 1_u64 << (10 + (window >> 3));
        return Some(Bytes(base + base / 8 * (window & 7)));
    }
    // All of it is kept: then its length is told, behind the number of a dictionary.
    let dictionary = [0, 1, 2, 4][usize::from(descriptor & 3)];
    let length = [1, 2, 4, 8][usize::from(descriptor >> 6)];
    let field = rest.get(dictionary..dictionary + length)?;
    let size = field
        .iter()
        .rev()
        .fold(0, |size, byte| size << 8 | u64::from(*byte));
    Some(Bytes(if length == 2 { size + 256 } else { size }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_say_how_far_back_a_file_looks() {
        let window = |head: &[u8]| zstd_window(&[&[0x28, 0xb5, 0x2f, 0xfd], head].concat());
        for (head, bytes) in [
            (&[0x00, 0x00][..], 1 << 10),
            (&[0x04, 0x68], 8 << 20),
            (&[0x04, 0x69], 9 << 20),
            (&[0x04, 0x88], 128 << 20),
            (&[0x84, 0xf8, 1, 2, 3, 4], 1 << 41),
            (&[0x20, 5], 5),
            (&[0x60, 1, 1], 513),
            (&[0xa1, 9, 0, 0, 0, 1], 1 << 24),
            (&[0xe3, 9, 9, 9, 9, 0, 0, 0, 0, 0, 1, 0, 0], 1 << 40),
        ] {
            assert_eq!(window(head), Some(Bytes(bytes)), "{head:?}");
        }
        for head in [&[][..], &[0x04], &[0x20], &[0xe0, 1, 2, 3]] {
            assert_eq!(window(head), None, "{head:?}");
        }
        assert_eq!(zstd_window(b"<html>"), None);
    }
}
