//! How large a loop file may be, by a formula that promises nothing the host cannot keep.
//!
//! With *available* the host filesystem's free space less what other loop files on it may still
//! grow by, and the *reserve* the larger of [`RESERVE`] and a tenth of that, the file plus the
//! reserve must fit into what is available.  `docs/size.md` has the figures.

use super::Refusal;
use crate::facts::Bytes;

/// The size where there is room for it.
pub const NOMINAL: Bytes = Bytes::gib(50);
/// Below this no pool is made unless a size is asked for: an unpacked base image takes 1.7 GiB,
/// and agents grow.
pub const FLOOR: Bytes = Bytes::gib(4);
/// The smallest size that can be asked for.  (`mkfs.btrfs` wants 109 MiB; less than this holds
/// nothing of use.)
pub const MINIMUM: Bytes = Bytes::mib(512);
/// What the host keeps for itself at least.
pub const RESERVE: Bytes = Bytes::gib(2);

/// A size, and whether the host filesystem can keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fit {
    pub size: Bytes,
    /// As in [`crate::step::PoolPlace::LoopFile`].
    pub keeps: Option<Bytes>,
}

/// The largest loop file that fits into `available` with the reserve left over.
#[must_use]
pub fn fitting(available: Bytes) -> Bytes {
    let reserve = RESERVE.max(Bytes(available.0 / 10));
    available.saturating_sub(reserve)
}

/// Decides a loop file's size.
///
/// # Errors
/// If there is too little room; with the figures.
pub(super) fn decide(
    available: Bytes,
    mount_point: &str,
    asked: Option<Bytes>,
    overcommit: bool,
    preallocate: bool,
) -> Result<Fit, Refusal> {
    let fits = fitting(available);
    let figures = format!(
        "{mount_point} has {available} available, of which {} stay in reserve for the host",
        available.saturating_sub(fits)
    );
    let Some(size) = asked else {
        let size = NOMINAL.min(fits.floor_gib());
        if size >= FLOOR {
            return Ok(Fit { size, keeps: None });
        }
        return Err(Refusal::new(
            format!("{figures}: {fits} are too little for a pool that agents grow in"),
            [
                format!(
                    "make room: from {} available on it works by itself",
                    FLOOR.saturating_add(RESERVE)
                ),
                "or name a disk with more room: --source /dev/… or a folder on a btrfs filesystem"
                    .into(),
                format!("or ask for a small pool: --size 2GiB (at least {MINIMUM}; it has to fit)"),
            ],
        ));
    };
    if size < MINIMUM {
        return Err(Refusal::new(
            format!("a pool of {size} is too small to hold anything"),
            [format!(
                "ask for {MINIMUM} at least: --size {}",
                MINIMUM.exact()
            )],
        ));
    }
    if size > fits && preallocate {
        return Err(Refusal::new(
            format!("{figures}: {size} cannot be allocated"),
            [format!(
                "ask for {fits} at most, or leave out --preallocate"
            )],
        ));
    }
    if size > fits && !overcommit {
        return Err(Refusal::new(
            format!("{figures}: a pool of {size} promises more than the host can keep"),
            [
                format!("ask for {fits} at most, or leave --size out"),
                "or accept that instances lose writes when the host fills up: --overcommit".into(),
            ],
        ));
    }
    Ok(Fit {
        size,
        keeps: (size > fits).then_some(fits),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn automatic(available: Bytes) -> Option<Bytes> {
        decide(available, "/", None, false, false)
            .ok()
            .map(|fit| fit.size)
    }

    #[test]
    fn automatic_sizes() {
        for (free_gib, size_gib) in [
            (6, Some(4)),
            (8, Some(6)),
            (16, Some(14)),
            (31, Some(27)),
            (64, Some(50)),
            (500, Some(50)),
            (5, None),
            (0, None),
        ] {
            assert_eq!(
                automatic(Bytes::gib(free_gib)),
                size_gib.map(Bytes::gib),
                "{free_gib} GiB free"
            );
        }
        // Disks are sold in powers of ten.
        for (free_gb, size_gib) in [
            (6, None),
            (8, Some(5)),
            (16, Some(12)),
            (31, Some(25)),
            (64, Some(50)),
            (500, Some(50)),
        ] {
            assert_eq!(
                automatic(Bytes(free_gb * 1_000_000_000)),
                size_gib.map(Bytes::gib),
                "{free_gb} GB free"
            );
        }
    }

    #[test]
    fn nothing_automatic_eats_the_reserve() {
        for mib in (0..200_000).step_by(97) {
            let available = Bytes::mib(mib);
            if let Some(size) = automatic(available) {
                assert!(size.0 + RESERVE.0.max(available.0 / 10) <= available.0);
                assert!((FLOOR..=NOMINAL).contains(&size));
            }
        }
    }

    #[test]
    fn asked_sizes() {
        let decide = |size, overcommit, preallocate| {
            decide(Bytes::gib(20), "/", Some(size), overcommit, preallocate)
        };
        assert_eq!(
            decide(Bytes::gib(18), false, true).map(|fit| (fit.size, fit.keeps)),
            Ok((Bytes::gib(18), None))
        );
        assert!(decide(Bytes::gib(19), false, false).is_err());
        let over = decide(Bytes::gib(19), true, false).unwrap();
        assert_eq!(over.keeps, Some(Bytes::gib(18)));
        assert!(decide(Bytes::gib(19), true, true).is_err());
        assert!(decide(Bytes::mib(511), true, false).is_err());
    }
}
