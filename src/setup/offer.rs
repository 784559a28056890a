//! After the set-up itself: what could be moved to a pool that clones.

use anyhow::Result;

use super::{Migrating, Setup};
use crate::facts::{Reference, Server};
use crate::plan::migrate::{selected, Wanted};
use crate::plan::Refusal;
use crate::report::Ending;

impl Setup<'_> {
    pub(super) fn set_up_and_offer(&mut self) -> Result<Ending> {
        let decided = self.goal.migrate.is_some();
        let ending = self.set_up()?;
        match ending {
            Ending::Nothing | Ending::Done | Ending::Planned if !decided => self.offer(ending),
            _ => Ok(ending),
        }
    }

    /// Offers to move what is on a `dir` pool; where there is nobody to ask, says how.
    fn offer(&mut self, ending: Ending) -> Result<Ending> {
        let server = match ending {
            Ending::Done => self.look()?,
            _ => match self.report.facts() {
                Some(facts) => facts.clone(),
                None => return Ok(ending),
            },
        };
        let names = server.server().map(on_dir).unwrap_or_default();
        if names.is_empty() {
            return Ok(ending);
        }
        if !self.ui.interactive() || self.manner.yes || self.manner.dry_run {
            self.ui.say(&hint(&names));
            return Ok(ending);
        }
        let set_up = self.report.plan().cloned();
        self.migrating = Migrating::default();
        // The set-up is done, whatever the answer is.
        match self.migrate() {
            Ok(Ending::Nothing) => {}
            Ok(moved) => return Ok(moved),
            Err(error) => {
                let refusal: Refusal = error.downcast()?;
                self.ui.say("");
                self.ui.say(&format!("No container is moved: {refusal}."));
                refusal.hints.iter().for_each(|hint| self.ui.say(hint));
            }
        }
        if let Some(set_up) = set_up {
            self.report.planned(&set_up);
        }
        Ok(ending)
    }
}

/// The containers on `dir` pools.
fn on_dir(server: &Server) -> Vec<Reference> {
    let mut names = selected(server, &Wanted::default()).unwrap_or_default();
    names.retain(|name| {
        let instance = server
            .instance(name)
            .filter(|it| it.kind == "container" && server.has_here(it));
        let pool = instance.and_then(|it| server.pool(it.pool.as_deref()?));
        pool.is_some_and(|pool| pool.driver == "dir")
    });
    names
}

fn hint(names: &[Reference]) -> String {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    format!(
        "On a pool that copies: {}. To move them, each down for seconds only: taos-setup migrate {}; \
         or along with a set-up: taos-setup --yes --migrate {}",
        names.join(", "),
        names.join(" "),
        names.join(",")
    )
}
