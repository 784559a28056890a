//! `scripts/install.sh`, `scripts/uninstall.sh`, and the examples in `docs/examples` that call the first.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use minisign::KeyPair;

use crate::support::Host;

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts");
const PROGRAM: &str = "/usr/local/bin/taos-setup";
const STUB: &str =
    "#!/bin/sh\n[ \"$*\" = --version ] || cat >/dev/null\necho \"taos-setup ${1:-} $0\"\n";

/// A release as `scripts/release.sh` lays it out, and the key it is signed with.
struct Release<'h> {
    host: &'h Host,
    folder: String,
    key: KeyPair,
}

impl<'h> Release<'h> {
    /// One whose program is a shell script.
    fn of_stub(host: &'h Host) -> Self {
        let share = host.share().join("release");
        fs::create_dir_all(share.join("tree")).expect("a folder");
        fs::write(share.join("tree/taos-setup"), STUB).expect("a program");
        Self::around(host)
    }

    /// One with the program itself. What it says of its own lines when it panics is of no use there.
    fn of_program(host: &'h Host) -> Self {
        let share = host.share();
        fs::create_dir_all(share.join("release/tree")).expect("a folder");
        host.sh(&format!(
            "cd {}; strip -o release/tree/taos-setup taos-setup",
            share.display()
        ));
        Self::around(host)
    }

    fn around(host: &'h Host) -> Self {
        let share = host.share().join("release");
        let release = Self {
            host,
            folder: share.to_str().expect("a plain path").to_owned(),
            key: KeyPair::generate_unencrypted_keypair().expect("a key"),
        };
        host.sh(&format!(
            "cd {0}; chmod 755 tree/taos-setup; mkdir tree/packaging; cp -r {SCRIPTS}/packaging/man {SCRIPTS}/packaging/completions tree/packaging
             cp {SCRIPTS}/install.sh .
             tar -C tree -czf taos-setup-linux-x64.tar.gz .
             ln taos-setup-linux-x64.tar.gz taos-setup-linux-arm64.tar.gz
             sha256sum *.tar.gz >SHA256SUMS
             setsid -f python3 -m http.server --bind 127.0.0.1 8123 >/dev/null 2>&1 </dev/null
             until curl -sf -o /dev/null http://127.0.0.1:8123/SHA256SUMS; do sleep 0.1; done",
            release.folder
        ));
        release.sign();
        release
    }

    /// Signs the list of digests as it is.
    fn sign(&self) {
        let sums = Path::new(&self.folder).join("SHA256SUMS");
        let bytes = fs::read(&sums).expect("the sums");
        let signed = minisign::sign(None, &self.key.sk, bytes.as_slice(), None, None);
        let text = signed.expect("signing").into_string();
        fs::write(sums.with_extension("minisig"), text).expect("a signature");
    }

    fn key(&self) -> String {
        self.key.pk.to_base64()
    }

    /// The script through a pipe, as root, with these variables.
    fn piped(&self, env: &[(&str, &str)], arguments: &str) -> Output {
        let script = fs::File::open(format!("{SCRIPTS}/install.sh")).expect("the script");
        let env: Vec<String> = env.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let line = format!("env {} bash -s -- {arguments}", env.join(" "));
        self.host
            .command("sh", &["-c", &line])
            .stdin(Stdio::from(script))
            .output()
            .expect("running the script")
    }
}

fn words(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[track_caller]
fn refused(host: &Host, output: &Output, why: &str) {
    let words = words(output);
    assert!(
        output.status.code() == Some(1) && words.contains(why),
        "{words}"
    );
    assert!(!host.file(PROGRAM).exists(), "installed: {words}");
}

#[test]
fn a_release_is_installed_if_it_is_whole_and_signed() {
    let host = Host::start();
    let release = Release::of_stub(&host);
    let key = release.key();
    let url = "http://127.0.0.1:8123";
    let env = [
        ("TAOS_SETUP_RELEASE", url),
        ("TAOS_SETUP_KEY", key.as_str()),
    ];

    // From somewhere else in the clear: not even asked.
    let far = [("TAOS_SETUP_RELEASE", "http://192.0.2.1/release")];
    refused(&host, &release.piped(&far, "--version"), "neither https://");
    // Changed on the server, with the list of digests changed along: only the signature tells.
    let list = Path::new(&release.folder).join("SHA256SUMS");
    let good = fs::read_to_string(&list).expect("the list");
    fs::write(&list, good.replace('0', "1")).expect("another list");
    refused(&host, &release.piped(&env, ""), "The signature of");
    // Without the key, the digest still does.
    refused(
        &host,
        &release.piped(&env[..1], ""),
        "is not what SHA256SUMS says",
    );
    // With a key there is no falling back to none.
    let signature = list.with_extension("minisig");
    fs::write(&list, &good).expect("the list");
    fs::remove_file(&signature).expect("removing the signature");
    refused(&host, &release.piped(&env, ""), "has no SHA256SUMS.minisig");
    release.sign();

    let run = release.piped(&env, "--dry-run");
    assert!(run.status.success(), "{}", words(&run));
    let out = String::from_utf8_lossy(&run.stdout);
    // The rest of the script was not swallowed by the program's `cat`, and the program got its argument.
    assert_eq!(out.trim(), format!("taos-setup --dry-run {PROGRAM}"));
    assert!(words(&run).contains("SHA-256 digest and the signature"));
    for page in [
        "share/man/man8/taos-setup-migrate.8",
        "share/zsh/site-functions/_taos-setup",
    ] {
        assert!(host.file(&format!("/usr/local/{page}")).exists(), "{page}");
    }

    // Removing takes these away, and nothing else.
    host.sh("mkdir -p /var/lib/taos-setup /etc/systemd/system/paths.target.wants
             echo >/var/lib/taos-setup/journal-1.jsonl
             cd /etc/systemd/system
             printf '[Service]\\nExecStart=/usr/local/bin/taos-setup --quiet image fetch\\n' >taos-setup-image.service
             echo >taos-setup-image.path
             ln -s ../taos-setup-image.path paths.target.wants/taos-setup-image.path");
    let uninstall = || host.sh(&format!("bash {SCRIPTS}/uninstall.sh"));
    let said = uninstall();
    assert!(
        said.contains("Removed: /usr/local/bin/taos-setup\n"),
        "{said}"
    );
    assert!(said.contains("taos-setup undo"), "{said}");
    let left = host.sh("find /usr/local /etc/systemd/system -name '*taos-setup*'");
    assert_eq!(left, "", "{said}");
    assert!(host.file("/var/lib/taos-setup/journal-1.jsonl").exists());
    // A unit of another installation is not ours to remove.
    host.sh("echo ExecStart=/usr/bin/taos-setup image fetch >/etc/systemd/system/taos-setup-image.service");
    assert!(uninstall().contains("There is nothing of taos-setup"));
    assert!(host
        .file("/etc/systemd/system/taos-setup-image.service")
        .exists());
}

#[test]
fn without_a_release_it_is_built() {
    let host = Host::start();
    // What builds is a stand-in: building itself is what brought this test's own program here.
    host.sh(&format!(
        "mkdir -p /opt/rust /opt/empty /opt/source/scripts /opt/source/src
         printf '#!/bin/sh\\necho rustc 1.99.0\\n' >/opt/rust/rustc
         printf '#!/bin/sh\\n[ \"$1\" = build ] || exit 0\\nfor last; do :; done\\nmkdir -p \"$last/release\"\\ncp /opt/stub \"$last/release/taos-setup\"\\n' >/opt/rust/cargo
         printf '%s' '{STUB}' >/opt/stub
         chmod 755 /opt/rust/* /opt/stub
         cd /opt/source
         cp {SCRIPTS}/install.sh scripts
         cp -r {SCRIPTS}/packaging scripts
         printf 'rust-version = \"1.85\"\\n' >Cargo.toml
         touch Cargo.lock
         git init -q .; git add .; git -c user.name=a -c user.email=a@b commit -q -m a"
    ));
    let piped = |env: &str| {
        let line = format!("PATH=/opt/rust:$PATH {env} bash -s -- --version");
        let script = fs::File::open(format!("{SCRIPTS}/install.sh")).expect("the script");
        let mut command: Command = host.command("sh", &["-c", &line]);
        command
            .stdin(Stdio::from(script))
            .output()
            .expect("running the script")
    };
    refused(&host, &piped(""), "There is no taos-setup to install");
    let run = piped("TAOS_SETUP_RELEASE=/opt/empty TAOS_SETUP_GIT=/opt/source");
    let said = words(&run);
    assert!(
        run.status.success() && said.contains("no release for this machine"),
        "{said}"
    );
    assert!(
        said.contains("Building in") && host.file(PROGRAM).exists(),
        "{said}"
    );
    assert!(host.file("/usr/local/share/man/man8/taos-setup.8").exists());
}

/// An example with this host's release in the place of the one that it names.
fn example(name: &str, key: &str) -> String {
    let path = format!("{}/docs/examples/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(path).expect("an example");
    let there = text
        .replace("https://example.org/taos-setup", "http://127.0.0.1:8123")
        .replace("TAOS_SETUP_KEY=\n", &format!("TAOS_SETUP_KEY={key}\n"));
    assert!(!there.contains("example.org"), "{there}");
    there
}

#[test]
fn the_examples_set_a_host_up() {
    let host = Host::builder().online().daemon().start();
    let release = Release::of_program(&host);
    let share = host.share();
    let verdict = || {
        host.sh(&format!(
            "{PROGRAM} status --json 2>/dev/null | grep -m1 verdict"
        ))
    };

    let playbook = share.join("ansible.yml");
    fs::write(&playbook, example("ansible.yml", "")).expect("a playbook");
    // As root there is nothing to become, and sudo need not be here.
    let play = |options: &str| {
        host.sh(&format!(
            "ansible-playbook -i localhost, -c local -e ansible_become=false -e ansible_python_interpreter=/usr/bin/python3 \\
             -e taos_key={} {options} {} 2>&1",
            release.key(),
            playbook.display()
        ))
    };
    let first = play("");
    assert!(
        first.contains("failed=0") && !first.contains("changed=0"),
        "{first}"
    );
    assert!(verdict().contains("ready"), "{first}");
    let second = play("");
    assert!(
        second.contains("changed=0 ") && second.contains("failed=0"),
        "{second}"
    );
    host.sh(&format!(
        "{PROGRAM} undo --yes 2>&1; ! [ -e /var/lib/incus/disks/default.img ]; rm {PROGRAM}"
    ));

    let config = share.join("cloud-init.yaml");
    fs::write(&config, example("cloud-init.yaml", &release.key())).expect("a configuration");
    // Only its code is needed here: installed, it would want to run at the next boot.
    let said = host.sh(&format!(
        "cd {}; chmod 755 .; apt-get download -q cloud-init >/dev/null 2>&1; dpkg-deb -x cloud-init_*.deb cloud
         export PYTHONPATH=$PWD/cloud/usr/lib/python3/dist-packages
         /usr/bin/python3 -m cloudinit.cmd.main schema --config-file cloud-init.yaml
         /usr/bin/python3 -c 'import sys, yaml; from cloudinit.util import shellify; print(shellify(yaml.safe_load(sys.stdin)[\"runcmd\"]))' \\
             <cloud-init.yaml >runcmd
         sh runcmd 2>&1",
        share.display()
    ));
    assert!(
        said.contains("Valid") && said.contains("and the signature"),
        "{said}"
    );
    assert!(verdict().contains("ready"), "{said}");
}
