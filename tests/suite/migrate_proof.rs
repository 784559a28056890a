//! All that a tree of files can hold, and a database that is written to throughout: what a migration keeps of it, and
//! what a plain `incus move` of the same does.

use std::time::Duration;

use crate::migrate::lasting;
use crate::support::{Host, Rule, Setup, Tree};

/// A file of 1 GiB: 48 MiB of bytes in three parts, the last of them at its end, and holes.
const HUGE: &str = "cd /var/lib/incus/storage-pools/default/containers/mary/rootfs
    for at in 0 500 1008; do dd if=/dev/urandom of=huge bs=1M count=16 seek=$at conv=notrunc status=none; done";

/// Puts the shell of `SQLite` with its libraries into the container, and lets it write until it is killed: one row a
/// transaction, each said to be committed in a file of the host's, by turns in one of two, as it may die while it writes one.
fn write_to_a_database(host: &Host) {
    host.sh(r#"sqlite3=$(command -v sqlite3) || { echo "this test needs sqlite3 (Debian: apt-get install sqlite3)" >&2; exit 1; }
        rootfs=/var/lib/incus/storage-pools/default/containers/mary/rootfs
        cp "$sqlite3" $rootfs/bin/sqlite3
        ldd "$sqlite3" | grep -o '/[^ ]*' | while read -r library; do cp -L --parents "$library" $rootfs; done
        mkdir -m 1777 -p /srv/acknowledged
        incus config device add mary acknowledged disk source=/srv/acknowledged path=/tmp
        incus exec mary -- sqlite3 /db 'PRAGMA journal_mode = WAL; CREATE TABLE log (n INTEGER PRIMARY KEY, filler TEXT)'
        cat >$rootfs/writer <<'WRITER'
{
    echo 'PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 50;'
    n=0
    while :; do
        n=$((n + 1))
        echo "INSERT INTO log VALUES ($n, hex(randomblob(300))); SELECT writefile('/tmp/$((n % 2))', '$n');"
    done
} | sqlite3 /db >/dev/null
WRITER
        incus exec mary -- sh -c 'sh /writer </dev/null >/dev/null 2>&1 &'"#);
}

/// The last row that was said to be committed.
fn acknowledged(host: &Host) -> u64 {
    let told = host.sh("cat /srv/acknowledged/0; echo; cat /srv/acknowledged/1");
    told.lines()
        .filter_map(|line| line.parse().ok())
        .max()
        .unwrap_or(0)
}

fn ask_database(host: &Host, question: &str) -> String {
    host.incus(&["exec", "mary", "--", "sqlite3", "/db", question])
}

#[test]
fn what_a_move_loses_a_migration_keeps_and_no_committed_row_is_lost() {
    let host = Host::with_pool("dir");
    host.launch("mary", &[]);
    make_backup(&host);
    host.make_hard_tree("mary", 10_000);
    host.sh(HUGE);
    host.sh(
        "echo edited >/var/lib/incus/storage-pools/default/containers/mary/rootfs/etc/hostname",
    );
    write_to_a_database(&host);
    let before = lasting(&host, "mary");
    while acknowledged(&host) < 20 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let first = acknowledged(&host);

    let at_stop = Rule::on("stop mary").shell("cp -r /srv/acknowledged /srv/at-stop");
    let yes = ["--yes", "--accept", "backups"];
    let setup =
        Setup::new(&[&["migrate", "mary", "--to", "taos"][..], &yes].concat()).rule(at_stop);
    host.run(&setup.timeout(Duration::from_secs(900)))
        .expect_code(0);

    let at_stop = host.sh("cat /srv/at-stop/0; echo; cat /srv/at-stop/1");
    let at_stop = at_stop.lines().filter_map(|line| line.parse().ok()).max();
    let last = acknowledged(&host);
    assert!(
        at_stop > Some(first) && Some(last) >= at_stop,
        "{first} {at_stop:?} {last}"
    );
    let now = lasting(&host, "mary");
    host.incus(&["stop", "mary", "--force"]);
    let (original, room) = host.tree_and_room("default", "containers/taos-kept-mary");
    let (migrated, room_there) = host.tree_and_room("taos", "containers/mary");
    let mut table = Table::default();
    table.compare(&original, &migrated);
    assert!(
        room_there <= room + room / 20,
        "{room_there} bytes for {room}"
    );
    let backup = has_backup(&host, "taos-kept-mary");
    table.identity(&before, &now, backup);

    host.incus(&["start", "mary"]);
    assert_eq!(ask_database(&host, "PRAGMA integrity_check"), "ok");
    let rows = ask_database(&host, "SELECT count(*) || ' ' || max(n) FROM log");
    let count = rows
        .split(' ')
        .map(|number| number.parse().expect("a number"));
    let count: Vec<u64> = count.collect();
    assert!(
        count[0] == count[1] && count[1] >= last,
        "{rows}, and {last} were committed"
    );

    // The original is what it was, so it can be moved by hand now; the huge file only takes time here.
    host.sh("rm /var/lib/incus/storage-pools/default/containers/taos-kept-mary/rootfs/huge");
    let (original, room) = host.tree_and_room("default", "containers/taos-kept-mary");
    let before = lasting(&host, "taos-kept-mary");
    host.incus(&["move", "taos-kept-mary", "--storage", "taos"]);
    let (moved, room_moved) = host.tree_and_room("taos", "containers/taos-kept-mary");
    table.moved = true;
    table.compare(&original, &moved);
    table.identity(
        &before,
        &lasting(&host, "taos-kept-mary"),
        has_backup(&host, "taos-kept-mary"),
    );
    assert!(room_moved > room, "{room_moved} bytes for {room}");
    let document = include_str!("../../docs/migration.md");
    assert!(
        document.contains(&table.text()),
        "docs/migration.md should say:\n{}",
        table.text()
    );
}

fn make_backup(host: &Host) {
    let body = r#"{"name": "before", "compression_algorithm": "none", "instance_only": true}"#;
    host.incus(&[
        "query",
        "--wait",
        "-X",
        "POST",
        "-d",
        body,
        "/1.0/instances/mary/backups",
    ]);
}

fn has_backup(host: &Host, name: &str) -> bool {
    let backups = host.query(&format!("/1.0/instances/{name}/backups"));
    !backups.as_array().expect("backups").is_empty()
}

/// What is kept by a migration, and then by a move.
#[derive(Default)]
struct Table {
    moved: bool,
    rows: Vec<(String, bool, bool)>,
}

impl Table {
    fn say(&mut self, what: &str, kept: bool) {
        if !self.moved {
            self.rows.push((what.to_owned(), kept, false));
            return;
        }
        let row = self.rows.iter_mut().find(|row| row.0 == what);
        row.expect("a row").2 = kept;
    }

    fn compare(&mut self, original: &Tree, other: &Tree) {
        for aspect in original.aspects() {
            self.say(aspect, original.is_same_in(aspect, other));
        }
        assert!(self.moved || original == other, "{}", self.text());
    }

    fn identity(&mut self, before: &serde_json::Value, now: &serde_json::Value, backup: bool) {
        let same = |key: &str| before["config"][key] == now["config"][key];
        self.say("`volatile.uuid`", same("volatile.uuid"));
        self.say(
            "cloud-init's instance id",
            same("volatile.cloud-init.instance-id"),
        );
        self.say(
            "edits in files that templates write",
            same("volatile.apply_template"),
        );
        self.say("backups (with the kept original)", backup);
        assert!(self.moved || before == now, "{before:#} {now:#}");
    }

    fn text(&self) -> String {
        let word = |kept: bool| if kept { "kept" } else { "**lost**" };
        let rows = self.rows.iter().map(|(what, migrated, moved)| {
            format!("| {what} | {} | {} |\n", word(*migrated), word(*moved))
        });
        format!(
            "| | `migrate` | `incus move` |\n|---|---|---|\n{}",
            rows.collect::<String>()
        )
    }
}
