//! The way back of a run that was completed.

use super::Refusal;
use crate::facts::Facts;
use crate::step::Step;

/// The steps that take `done` back, last first, without those that are true already.
///
/// # Errors
/// If something stands in the way of one of them; said before anything is touched.
pub fn backwards(facts: &Facts, done: &[Step]) -> Result<Vec<Step>, Refusal> {
    let mut facts = facts.clone();
    let mut steps = Vec::new();
    for step in done.iter().rev() {
        let Some(undo) = step.undo() else { continue };
        if undo.holds(&facts) || undo.moot(&facts) {
            continue;
        }
        if let Some(why) = undo.blocked(&facts) {
            return Err(Refusal::new(
                format!("cannot {}: {why}", undo.describe()),
                [
                    "nothing was touched; once that is out of the way, taos-setup undo works"
                        .to_owned(),
                ],
            ));
        }
        undo.expect(&mut facts);
        steps.push(undo);
    }
    Ok(steps)
}
