//! The build of the base image, in small: the same script, few packages, on a real daemon.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::support::{Host, Setup};

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/build-base-image.sh");
const CONTENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/base-image/contents");

/// Everything that the build's network is for, in a folder.
struct Small {
    folder: tempfile::TempDir,
    /// Whether this machine can name an npm registry, so that Node is in it.
    node: bool,
}

impl Small {
    /// Fetched on the machine, since a private host has no network.
    fn fetch() -> Self {
        let npm = Command::new("npm")
            .args(["config", "get", "registry"])
            .output();
        let node = npm.is_ok_and(|npm| String::from_utf8_lossy(&npm.stdout).starts_with("http"));
        let small = Self {
            folder: tempfile::Builder::new()
                .prefix("taos-small.")
                .tempdir_in(std::env::var_os("TMPDIR").unwrap_or_else(|| "/var/tmp".into()))
                .expect("a folder"),
            node,
        };
        fs::write(small.path("contents"), small.contents()).expect("writing the contents");
        small.bake();
        let fetched = Command::new(BUILD)
            .args(["fetch", "--cache"])
            .arg(small.path("cache"))
            .arg("--contents")
            .arg(small.path("contents"))
            .output();
        succeeded("fetching", &fetched.expect("running the script"));
        small
    }

    /// The release, the versions and the date are those of the true contents.
    fn contents(&self) -> String {
        let whole = fs::read_to_string(CONTENTS).expect("reading the contents");
        let mut kept: Vec<&str> = vec!["debian", "as-of"];
        let mut checks = "boot identity locale".to_owned();
        if self.node {
            kept.extend(["node", "npm", "sha256"]);
            checks += " node npm";
        } else {
            println!("no npm registry is known here, so the small image has no Node");
        }
        let mut lines: Vec<String> = whole
            .lines()
            .filter(|line| {
                line.split(' ')
                    .next()
                    .is_some_and(|word| kept.contains(&word))
            })
            .map(Into::into)
            .collect();
        lines.push("packages systemd-sysv dbus ca-certificates".into());
        lines.push(format!("checks {checks}"));
        lines.push("budget 200".into());
        lines.join("\n") + "\n"
    }

    /// A folder of files and hooks: what a trim takes, what it leaves, and a hook that runs in the system.
    fn bake(&self) {
        let package = self.path("bake/files/usr/lib/node_modules/thing");
        fs::create_dir_all(&package).expect("a folder");
        fs::write(package.join("index.js"), "module.exports = 1\n").expect("a file");
        fs::write(package.join("index.js.map"), vec![b'm'; 3 << 20]).expect("a file");
        fs::write(package.join("index.d.ts"), vec![b't'; 2 << 20]).expect("a file");
        fs::create_dir_all(self.path("bake/hooks")).expect("a folder");
        fs::write(
            self.path("bake/hooks/10-say.sh"),
            "systemctl --version | head -n 1 >/etc/hooked\necho here-i-am >/var/log/hooked\n",
        )
        .expect("a hook");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn build(&self, host: &Host, room: &str, out: &str, more: &[&str]) -> Output {
        let (cache, contents, bake) =
            (self.path("cache"), self.path("contents"), self.path("bake"));
        let out = host.share().join(out);
        let mut args = vec!["--in", room, "--level", "3", "--offline", text(&cache)];
        args.extend(["--contents", text(&contents), "--bake", text(&bake)]);
        args.extend(["--out", text(&out)]);
        args.extend(more);
        run(host, &args)
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// In the host's folder, which lies on a true file system, as Incus needs it for the pool.
fn run(host: &Host, args: &[&str]) -> Output {
    let share = host.share();
    let mut words = vec![format!("TMPDIR={}", share.display()), BUILD.to_owned()];
    words.extend(args.iter().map(ToString::to_string));
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let output = host.command("env", &words).output();
    output.expect("running the script in the host")
}

#[track_caller]
fn succeeded(what: &str, output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{what}: {}\n{said}", output.status);
    said
}

/// The list of digests is signed with a key, as for a release.
fn sign(folder: &Path) {
    let pair = minisign::KeyPair::generate_unencrypted_keypair().expect("a pair of keys");
    let key = folder.join("key");
    let secret = pair.sk.to_box(None).expect("a secret key").to_string();
    fs::write(&key, secret).expect("writing the key");
    let signed = Command::new(BUILD)
        .arg("sums")
        .arg(folder)
        .arg("--key")
        .arg(&key)
        .output();
    succeeded("signing", &signed.expect("running the script"));
    let list = fs::read(folder.join("SHA256SUMS")).expect("the list");
    let signature = fs::read_to_string(folder.join("SHA256SUMS.minisig")).expect("a signature");
    let signature = minisign::SignatureBox::from_string(&signature).expect("a signature");
    minisign::verify(
        &pair.pk,
        &signature,
        std::io::Cursor::new(list),
        true,
        false,
        false,
    )
    .expect("a good signature");
}

/// The lines of the manifest of one kind: name and value.
fn manifest(folder: &Path, kind: &str) -> Vec<(String, String)> {
    let file = fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| entry.expect("an entry").path())
        .find(|path| path.extension().is_some_and(|end| end == "manifest"))
        .expect("a manifest");
    fs::read_to_string(file)
        .expect("the manifest")
        .lines()
        .filter_map(|line| {
            let mut words = line.split('\t');
            (words.next()? == kind).then_some(())?;
            Some((words.next()?.into(), words.next()?.into()))
        })
        .collect()
}

/// Nothing of the build is left in Incus, nor in the folder where it worked.
#[track_caller]
fn nothing_left(host: &Host) {
    for (list, column) in [("list", "n"), ("image list", "F")] {
        let words = format!("incus {list} --all-projects --format=csv -c {column}");
        assert_eq!(host.sh(&words), "", "{words}");
    }
    assert_eq!(
        host.sh("incus storage list --format=csv | cut -d, -f1"),
        "default"
    );
    no_work_left(host);
}

#[track_caller]
fn no_work_left(host: &Host) {
    let find = format!("find {} -name 'taos-build.*'", host.share().display());
    assert_eq!(host.sh(&find), "");
}

#[test]
fn a_small_image_is_built_twice_alike_and_launches() {
    let small = Small::fetch();
    let host = Host::with_pool("dir");
    let name = format!(
        "taos-openclaw-base-linux-{}.tar.gz",
        if cfg!(target_arch = "aarch64") {
            "arm64"
        } else {
            "x64"
        }
    );

    succeeded(
        "building in a container",
        &small.build(&host, "container", "one", &[]),
    );
    nothing_left(&host);
    let one = host.share().join("one");
    let trims = manifest(&one, "trim");
    let recovered = |name: &str| -> i64 {
        let (_, kib) = trims.iter().find(|(trim, _)| trim == name).expect(name);
        kib.parse().expect("a number")
    };
    assert!(
        (3072..3500).contains(&recovered("source-maps")),
        "{trims:?}"
    );
    assert!((2048..2500).contains(&recovered("typings")), "{trims:?}");
    for name in ["locales", "docs", "man-and-info"] {
        assert!(recovered(name) > 0, "{trims:?}");
    }
    assert!(manifest(&one, "package")
        .iter()
        .any(|(name, _)| name == "systemd"));
    host.sh(&format!(
        "cd {} && sha256sum --quiet -c SHA256SUMS",
        one.display()
    ));

    // Again, in the other room, with a budget that it cannot keep: the very same file, and not under its name.
    let refused = small.build(&host, "chroot", "two", &["--budget", "1"]);
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("its budget is 1 MB"), "{said}");
    assert!(
        said.contains("libraries") && said.contains("systemd"),
        "{said}"
    );
    let two = host.share().join("two");
    assert!(
        !two.join(&name).exists() && !two.join("SHA256SUMS").exists(),
        "{said}"
    );
    host.sh(&format!(
        "cmp {}/{name} {}/{name}.too-large",
        one.display(),
        two.display()
    ));
    for kind in ["part", "package"] {
        let (first, second) = (manifest(&one, kind), manifest(&two, kind));
        assert!(
            !first.is_empty() && first == second,
            "{first:?}, {second:?}"
        );
    }
    nothing_left(&host);

    let contents = small.path("contents");
    let image = one.join(&name);
    succeeded(
        "the functional test",
        &run(
            &host,
            &["test", text(&image), "--contents", text(&contents)],
        ),
    );
    nothing_left(&host);

    sign(&one);
    host.run(&Setup::new(&[
        "image",
        "fetch",
        "--image-file",
        text(&image),
    ]))
    .expect_code(0);
    host.incus(&[
        "launch",
        "taos-openclaw-base",
        "taos-agent-small",
        "--quiet",
    ]);
    let found = host.incus(&[
        "exec",
        "taos-agent-small",
        "--",
        "sh",
        "-c",
        "cat /etc/hooked; find / -xdev -name '*.js.map' -o -xdev -path '/var/log/hooked'",
    ]);
    assert!(
        found.starts_with("systemd ") && found.lines().count() == 1,
        "{found}"
    );
}

#[test]
fn a_build_that_lacks_something_says_what_and_touches_nothing() {
    let host = Host::start();
    let share = host.share();
    let cache = share.join("cache");
    fs::create_dir(&cache).expect("a folder");
    for (args, says) in [
        (vec!["--arch", "mips"], "There is no architecture 'mips'"),
        (vec!["--offline", "/nowhere"], "There is no cache /nowhere"),
        (vec!["--offline", text(&cache)], "has no Debian"),
        (vec!["--contents", "/nowhere"], "There is no file /nowhere"),
        (vec!["--level"], "has no value"),
        (vec!["test", "/nowhere"], "There is no file /nowhere"),
    ] {
        let output = run(&host, &args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(says), "{args:?}: {said}");
    }
    no_work_left(&host);
}
