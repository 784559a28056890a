//! The members of a cluster: where the image is unpacked, and where it could not be.

use crate::incus::images;
use crate::plan::image::Spot;

use super::{Ending, OnMember, Run, AGAIN};

impl Run<'_> {
    /// Notes where the image is unpacked now, and says where it is not.
    pub(super) fn tell_of_members(&mut self, message: &mut String) {
        if !self.clustered {
            return;
        }
        let Ok((_, store)) = self.look() else {
            return;
        };
        let fingerprint = self
            .reporter
            .progress
            .fingerprint
            .clone()
            .unwrap_or_default();
        let mut members: Vec<OnMember> = store
            .spots()
            .map(|(spot, images)| OnMember {
                member: spot.member.clone(),
                pool: Some(spot.pool.clone()),
                unpacked: images.contains(&fingerprint),
                why: self.cold.get(spot).cloned(),
            })
            .collect();
        members.extend(store.not_on.iter().map(|(member, why)| OnMember {
            member: member.clone(),
            pool: None,
            unpacked: false,
            why: Some(why.clone()),
        }));
        members.sort_by(|one, other| one.member.cmp(&other.member));
        for cold in members.iter().filter(|it| !it.unpacked) {
            let why = cold.why.as_deref().unwrap_or("it is cold again");
            *message = format!(
                "{message}; it is not unpacked on member {}, which {why}: run taos-setup image fetch \
                 once that is over",
                cold.member
            );
        }
        self.reporter.progress.members = members;
        self.reporter.progress.copies = store.copies;
    }

    /// Removes scratch instances of ours that another member made although the command failed, be it
    /// a moment later.
    pub(super) fn sweep(&self) -> Result<(), Ending> {
        for round in 0..10 {
            std::thread::sleep(AGAIN);
            let (_, store) = self.look()?;
            if store.left_over.is_empty() && round >= 3 {
                break;
            }
            for name in &store.left_over {
                // What is still being made cannot be deleted yet.
                let _ = self.change_anyway(&images::delete_scratch(name));
            }
        }
        Ok(())
    }

    /// Notes that the image could not be unpacked on another member: what is here is whole all the
    /// same, and the next run tries again.
    pub(super) fn leave_cold(&mut self, on: &Spot, why: &str) {
        self.show.say(&format!("Not unpacked on {on}: {why}"));
        self.cold
            .insert(on.clone(), format!("could not unpack it ({why})"));
    }
}
