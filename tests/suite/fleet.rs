//! The example of a loop over a fleet of hosts, `docs/examples/fleet.sh`: with private hosts, and without ssh.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::support::Host;

const FLEET: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/fleet.sh");
const ENTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-host.sh");

#[test]
fn a_fleet_is_looked_at_planned_and_set_up() {
    let (empty, used) = (Host::with_pool("dir"), Host::with_pool("dir"));
    used.launch("mary", &[]);
    let before = used.state_digest();
    let share = empty.share();
    // What stands for ssh: it runs the words in a host, and ends with 255 where there is none.
    let ssh = share.join("ssh.sh");
    let script = format!(
        "#!/bin/sh
         host=$1; shift
         case $host in
         attic) dir={attic} ;; cellar) dir={cellar} ;; bare) exec sh -c 'exit 127' ;;
         *) echo \"ssh: connect to host $host: No route to host\" >&2; exit 255 ;;
         esac
         [ \"$1\" = sudo ] && shift
         [ \"$1\" = taos-setup ] && shift
         exec {ENTER} exec $dir env TAOS_HOST_PLAIN=1 $dir/share/taos-setup \"$@\"
        ",
        attic = empty.dir().display(),
        cellar = used.dir().display(),
    );
    fs::write(&ssh, script).expect("a script for ssh");
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).expect("an executable script");
    let hosts = share.join("hosts");
    fs::write(
        &hosts,
        "attic\n# a comment\n\ncellar # by the stairs\nbare\ngone\n",
    )
    .expect("hosts");
    let json = share.join("json");
    let fleet = |option: &str| -> (i32, String) {
        let mut command = Command::new(FLEET);
        command
            .arg(&hosts)
            .env("FLEET_RUN", &ssh)
            .env("FLEET_JSON", &json);
        if !option.is_empty() {
            command.arg(option);
        }
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().expect("running the example");
        let said =
            String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        (status.code().unwrap_or(-1), said)
    };
    let line = |said: &str, host: &str| -> String {
        let found = said
            .lines()
            .rfind(|line| line.starts_with(&format!("{host} ")));
        let words = found
            .unwrap_or_else(|| panic!("no {host} in {said}"))
            .split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };

    let (code, said) = fleet("--plan");
    assert_eq!(code, 1, "{said}");
    assert!(
        line(&said, "attic").starts_with("attic to-do default "),
        "{said}"
    );
    assert!(
        line(&said, "cellar").starts_with("cellar copies default "),
        "{said}"
    );
    assert!(line(&said, "cellar").contains(" mary "), "{said}");
    assert!(line(&said, "bare").contains("bare missing"), "{said}");
    assert!(
        line(&said, "gone").contains("unreachable") && said.contains("No route"),
        "{said}"
    );
    assert!(said.contains("    would "), "{said}");

    let (code, said) = fleet("--set-up");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("    done"), "{said}");
    assert!(
        line(&said, "attic").starts_with("attic ready default "),
        "{said}"
    );
    let document = fs::read_to_string(json.join("attic.json")).expect("a document");
    assert!(document.contains("\"schema\""), "{document}");
    crate::support::assert_same(&before, &used.state_digest());

    fs::write(&hosts, "attic\n").expect("hosts");
    let (code, said) = fleet("");
    assert_eq!(code, 0, "{said}");
}
