//! The taOS service, as far as this program has to know it: which user it runs as.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Where units are, those that win first.
const FOLDERS: &[&str] = &[
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// What the unit is called: now, and as the product is called.
const UNITS: &[&str] = &["tinyagentos.service", "taos.service"];
/// Who it is where there is no unit yet.
const USUAL: &str = "taos";

/// The users that the taOS service runs as, from its unit; root is none of them.
#[must_use]
pub fn users() -> Vec<u32> {
    let mut names: BTreeSet<String> = UNITS.iter().filter_map(|unit| user_of(unit)).collect();
    if names.is_empty() {
        names.insert(USUAL.to_owned());
    }
    let uids = names.iter().filter_map(|name| uid_of(name));
    uids.filter(|uid| *uid != 0).collect()
}

fn uid_of(name: &str) -> Option<u32> {
    if let Ok(uid) = name.parse() {
        return Some(uid);
    }
    let user = nix::unistd::User::from_name(name).ok()??;
    Some(user.uid.as_raw())
}

/// `User=` of a unit and of what is dropped in beside it; the last one wins.
fn user_of(unit: &str) -> Option<String> {
    let main = FOLDERS
        .iter()
        .find_map(|folder| fs::read_to_string(Path::new(folder).join(unit)).ok());
    let mut user = main.as_deref().and_then(user_in);
    let mut drop_ins = Vec::new();
    for folder in FOLDERS {
        let folder = Path::new(folder).join(format!("{unit}.d"));
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().extension().is_some_and(|end| end == "conf") {
                drop_ins.push((entry.file_name(), entry.path()));
            }
        }
    }
    drop_ins.sort();
    for (_, path) in drop_ins {
        let text = fs::read_to_string(path).unwrap_or_default();
        user = user_in(&text).or(user);
    }
    user
}

fn user_in(text: &str) -> Option<String> {
    let mut service = false;
    let mut user = None;
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') {
            service = line == "[Service]";
        } else if let (true, Some((key, value))) = (service, line.split_once('=')) {
            if key.trim() == "User" {
                user = Some(value.trim().to_owned());
            }
        }
    }
    user.filter(|name| !name.is_empty() && !name.contains('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_user_is_in_the_service_section() {
        let unit =
            "[Unit]\nUser=no\n[Service]\nExecStart=/x\nUser = taos\n#User=x\n[Install]\nUser=no";
        assert_eq!(user_in(unit).as_deref(), Some("taos"));
        assert_eq!(user_in("[Service]\nUser=a\nUser=b\n").as_deref(), Some("b"));
        assert_eq!(user_in("[Service]\nUser=%i\n"), None);
        assert_eq!(user_in("[Service]\nDynamicUser=yes\n"), None);
    }
}
