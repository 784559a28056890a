//! Bytes, read and written as Incus reads and writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A number of bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }

    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// Down to a whole number of GiB.
    #[must_use]
    pub const fn floor_gib(self) -> Self {
        Self(self.0 >> 30 << 30)
    }

    /// Exactly, in the largest binary unit that divides it, as Incus's `size` key takes it.
    #[must_use]
    pub fn exact(self) -> String {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return format!("{}{unit}", self.0 >> shift);
            }
        }
        format!("{}B", self.0)
    }
}

/// For people: at most one decimal, in a binary unit.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 >= 1 << shift {
                // Tenths, rounded down: free space must not be shown larger than it is.
                let tenths = (u128::from(self.0) * 10) >> shift;
                let (whole, tenth) = (tenths / 10, tenths % 10);
                return if tenth == 0 || whole >= 100 {
                    f.pad(&format!("{whole} {unit}"))
                } else {
                    f.pad(&format!("{whole}.{tenth} {unit}"))
                };
            }
        }
        f.pad(&format!("{} B", self.0))
    }
}

/// Why a text is not a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSize(String);

impl fmt::Display for BadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; write a whole number with a unit, such as 50GiB or 800MB",
            self.0
        )
    }
}

impl std::error::Error for BadSize {}

impl FromStr for Bytes {
    type Err = BadSize;

    fn from_str(text: &str) -> Result<Self, BadSize> {
        let split = text
            .find(|c: char| !c.is_ascii_digit())
            .ok_or_else(|| BadSize("no unit".into()))?;
        let (digits, unit) = text.split_at(split);
        let factor: u64 = match unit {
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(BadSize(format!("unknown unit or number in {text:?}"))),
        };
        let number: u64 = digits
            .parse()
            .map_err(|_| BadSize(format!("no usable number in {text:?}")))?;
        match number.checked_mul(factor) {
            Some(0) => Err(BadSize("zero is no size".into())),
            Some(bytes) if bytes <= 1 << 60 => Ok(Self(bytes)),
            _ => Err(BadSize(format!("{text} is larger than any filesystem"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_people_write() {
        for (text, bytes) in [
            ("50GiB", 50 << 30),
            ("1MiB", 1 << 20),
            ("2TB", 2_000_000_000_000),
            ("800MB", 800_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
    }

    #[test]
    fn sizes_that_are_refused() {
        for text in [
            "",
            "0",
            "-1",
            "50",
            "50XB",
            "1e99GiB",
            "0GiB",
            "GiB",
            "50 GiB",
            "1.5GiB",
            "-1GiB",
            "99999999999999999999GiB",
            "9999999TiB",
            "50gib",
        ] {
            assert!(text.parse::<Bytes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn exact_is_what_it_says() {
        for (bytes, text) in [
            (Bytes::gib(50), "50GiB"),
            (Bytes::mib(1500), "1500MiB"),
            (Bytes(1 << 40), "1TiB"),
            (Bytes(800_000_000), "781250KiB"),
            (Bytes(800_000_001), "800000001B"),
            (Bytes(0), "0B"),
        ] {
            assert_eq!(bytes.exact(), text);
        }
    }

    #[test]
    fn shown_sizes_never_round_up() {
        for (bytes, text) in [
            (Bytes(0), "0 B"),
            (Bytes::gib(50), "50 GiB"),
            (Bytes((1 << 30) - 1), "1023 MiB"),
            (Bytes(6_000_000_000), "5.5 GiB"),
            (Bytes(u64::MAX), "16777215 TiB"),
        ] {
            assert_eq!(bytes.to_string(), text);
        }
    }
}
