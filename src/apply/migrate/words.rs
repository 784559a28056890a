//! The commands of a migration's parts.

use serde_json::{json, Value};

use super::copy_config;
use crate::host::command::shown;
use crate::step::migration::{Migration, Part, COPIED_MARK, LOW_LEVEL, MANIFEST_MARK, PROVEN_MARK};

/// The commands of a part, as they could be typed.
#[must_use]
pub fn commands(part: Part, of: &Migration) -> Vec<String> {
    let name = &of.name.name;
    let edit = |name: &str, what: &str| format!("{}  # {what}, on stdin", shown(&edit(of, name)));
    match part {
        Part::Copy => {
            let mut lines: Vec<String> = seed(of).iter().map(|argv| shown(argv)).collect();
            lines.push(shown(&refresh(of)));
            lines.push("# then every byte is compared that did not change meanwhile".into());
            lines.push(shown(&mark_copied(of, "…")));
            lines
        }
        Part::DeleteCopy => vec![shown(&delete(of, &of.copy))],
        Part::Stop => vec![
            "# first, if the copy is not quite new, it is brought up to date:".into(),
            shown(&refresh(of)),
            shown(&stop(of)),
        ],
        Part::Resume | Part::Start => vec![shown(&start(of))],
        Part::Prove => vec![
            "# all of it is compared and mended; what cannot be mended is copied again:".into(),
            shown(&refresh(of)),
            shown(&mark_proven(of, &of.was.last_used_at)),
        ],
        Part::Switch => vec![
            shown(&rename(of, name, &of.kept)),
            edit(
                &of.kept,
                "without network cards, and not to start by itself",
            ),
            shown(&rename(of, &of.copy, name)),
            edit(name, "all that it was configured"),
        ],
        Part::SwitchBack => vec![
            edit(name, "without network cards, and not to start by itself"),
            shown(&rename(of, name, &of.copy)),
            shown(&rename(of, &of.kept, name)),
            edit(name, "all that it was configured"),
        ],
        Part::Halt => vec![shown(&halt(of))],
        Part::DeleteKept => vec![shown(&delete(of, &of.kept))],
        Part::Loosen => vec![shown(&loosen(of))],
        Part::Tighten => vec![shown(&tighten(of))],
        Part::Record => vec![
            "# every path, with its checksum, is written down in the state folder".into(),
            shown(&mark_written(of, "…")),
        ],
        Part::Forget => vec![shown(&unmark(of))],
        Part::Move => vec![shown(&plain_move(of))],
        Part::Unmove => vec!["# what it left is compared once more, and deleted".into()],
        Part::Check => vec![
            "# it is compared, and hard links and flags are mended".into(),
            edit(name, "all that it was configured"),
        ],
        Part::DeleteStray => vec![
            "# every path of it is compared once more".into(),
            shown(&delete(of, &of.copy)),
        ],
        Part::Leave => Vec::new(),
        Part::Adopt if of.kept.is_empty() => vec![
            shown(&rename(of, &of.copy, name)),
            edit(name, "its identity"),
        ],
        Part::Adopt => vec![
            "# every path of the original that is left is compared once more".into(),
            shown(&rename(of, name, &of.kept)),
            edit(
                &of.kept,
                "without network cards, and not to start by itself",
            ),
            shown(&rename(of, &of.copy, name)),
            edit(name, "all that it was configured"),
        ],
    }
}

pub(super) fn plain_move(of: &Migration) -> Vec<String> {
    in_project(of, &["move", &of.name.name, "--storage", &of.to])
}

pub(super) fn mark_written(of: &Migration, value: &str) -> Vec<String> {
    let pair = format!("{MANIFEST_MARK}={value}");
    in_project(of, &["config", "set", &of.name.name, &pair])
}

pub(super) fn unmark(of: &Migration) -> Vec<String> {
    in_project(of, &["config", "unset", &of.name.name, MANIFEST_MARK])
}

/// Makes the copy a clone of its base image, where that is there.
pub(super) fn seed(of: &Migration) -> Option<Vec<String>> {
    let fingerprint = of.seed.as_ref()?;
    Some(create(
        of,
        json!({ "type": "image", "fingerprint": fingerprint }),
    ))
}

/// Copies what differs, to what is there already; without a seed, all of it.
pub(super) fn refresh(of: &Migration) -> Vec<String> {
    create(
        of,
        json!({
            "type": "copy",
            "source": of.name.name,
            "refresh": true,
            // It is made consistent, and that is proven, once it is stopped.
            "allow_inconsistent": true,
        }),
    )
}

fn create(of: &Migration, source: Value) -> Vec<String> {
    let document = json!({
        "name": of.copy,
        "source": source,
        // The snapshots get them as theirs, so they must be what they were.
        "profiles": of.was.profiles,
        "devices": of.inert(&of.root),
        "config": copy_config(),
        "description": of.was.description,
    });
    let mut path = format!("/1.0/instances?project={}", of.name.project);
    if !of.member.is_empty() {
        // Else the cluster makes it wherever it likes.
        path = format!("{path}&target={}", of.member);
    }
    let data = document.to_string();
    words(&["query", "--wait", "-X", "POST", "-d", &data, &path])
}

pub(super) fn mark_copied(of: &Migration, value: &str) -> Vec<String> {
    set(of, &format!("{COPIED_MARK}={value}"))
}

pub(super) fn mark_proven(of: &Migration, started: &str) -> Vec<String> {
    set(of, &format!("{PROVEN_MARK}={started}"))
}

fn set(of: &Migration, pair: &str) -> Vec<String> {
    in_project(of, &["config", "set", &of.copy, pair])
}

pub(super) fn edit(of: &Migration, name: &str) -> Vec<String> {
    in_project(of, &["config", "edit", name])
}

pub(super) fn rename(of: &Migration, from: &str, to: &str) -> Vec<String> {
    in_project(of, &["rename", from, to])
}

pub(super) fn stop(of: &Migration) -> Vec<String> {
    let seconds = of.was.config.get("boot.host_shutdown_timeout");
    let seconds = seconds.map_or("30", String::as_str);
    in_project(of, &["stop", &of.name.name, "--timeout", seconds])
}

pub(super) fn halt(of: &Migration) -> Vec<String> {
    in_project(of, &["stop", &of.name.name, "--force"])
}

pub(super) fn start(of: &Migration) -> Vec<String> {
    in_project(of, &["start", &of.name.name])
}

pub(super) fn delete(of: &Migration, name: &str) -> Vec<String> {
    in_project(of, &["delete", name])
}

pub(super) fn delete_snapshot(of: &Migration, snapshot: &str) -> Vec<String> {
    in_project(of, &["snapshot", "delete", &of.name.name, snapshot])
}

pub(super) fn unprotect(of: &Migration) -> Vec<String> {
    in_project(
        of,
        &["config", "unset", &of.kept, "security.protection.delete"],
    )
}

pub(super) fn loosen(of: &Migration) -> Vec<String> {
    let pair = format!("{LOW_LEVEL}=allow");
    words(&["project", "set", &of.name.project, &pair])
}

pub(super) fn tighten(of: &Migration) -> Vec<String> {
    match of.restricted.as_ref().and_then(|it| it.was.as_ref()) {
        Some(was) => {
            let pair = format!("{LOW_LEVEL}={was}");
            words(&["project", "set", &of.name.project, &pair])
        }
        None => words(&["project", "unset", &of.name.project, LOW_LEVEL]),
    }
}

fn in_project(of: &Migration, rest: &[&str]) -> Vec<String> {
    let mut argv = words(rest);
    argv.extend(["--project".to_owned(), of.name.project.clone()]);
    argv
}

fn words(rest: &[&str]) -> Vec<String> {
    ["incus", "--force-local"]
        .iter()
        .chain(rest)
        .map(ToString::to_string)
        .collect()
}
