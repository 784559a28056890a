//! Whether there is room for the image: the file, Incus's copy of it, and what it is unpacked.

use crate::facts::Bytes;

/// What stays free on each filesystem, for whatever else is at work there.
pub const RESERVE: Bytes = Bytes::mib(128);

/// What an image takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// Of the file, what is not here yet.
    pub file: Bytes,
    /// Incus's copy of the file.
    pub copy: Bytes,
    /// Unpacked on a pool.
    pub unpacked: Bytes,
}

/// A place with some room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room {
    pub path: String,
    /// Which filesystem it is; two places may be on one.
    pub device: u64,
    pub free: Bytes,
}

impl Need {
    /// Looks whether there is room in the folder of the file, in Incus's folder, and on a pool.
    ///
    /// # Errors
    /// What is missing, and where.
    pub fn fits(&self, file: &Room, incus: &Room, pool: Option<&Room>) -> Result<(), String> {
        let mut needs = [
            (Some(file), self.file),
            (Some(incus), self.copy),
            (pool, self.unpacked),
        ];
        for at in 0..needs.len() {
            let (Some(room), mut need) = needs[at] else {
                continue;
            };
            for other in &mut needs[at + 1..] {
                if other.0.is_some_and(|other| other.device == room.device) {
                    need = need.saturating_add(other.1);
                    other.0 = None;
                }
            }
            if need.0 > 0 && need.saturating_add(RESERVE) > room.free {
                return Err(format!(
                    "it takes {need} in {}, and {} are free there, of which {RESERVE} are to stay so",
                    room.path, room.free
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(path: &str, device: u64, mib: u64) -> Room {
        Room {
            path: path.into(),
            device,
            free: Bytes::mib(mib),
        }
    }

    #[test]
    fn needs_on_one_filesystem_add_up() {
        let need = Need {
            file: Bytes::mib(100),
            copy: Bytes::mib(100),
            unpacked: Bytes::mib(300),
        };
        let fits = |file, incus, pool| {
            need.fits(
                &room("/f", 1, file),
                &room("/i", 2, incus),
                Some(&room("pool", 3, pool)),
            )
        };
        assert_eq!(fits(228, 228, 428), Ok(()));
        assert!(fits(227, 228, 428).unwrap_err().contains("/f"));
        assert!(fits(228, 227, 428).unwrap_err().contains("/i"));
        assert!(fits(228, 228, 427).unwrap_err().contains("pool"));
        let shared = |mib| need.fits(&room("/f", 1, mib), &room("/i", 1, mib), None);
        assert_eq!(shared(328), Ok(()));
        assert!(shared(327).is_err());
    }

    #[test]
    fn what_takes_nothing_fits_anywhere() {
        let full = room("/f", 1, 0);
        assert_eq!(Need::default().fits(&full, &full, Some(&full)), Ok(()));
    }
}
