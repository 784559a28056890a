//! The man pages and completions under `scripts/packaging` are what this definition says.
//!
//! After a change of the command line: `TAOS_GENERATE=1 cargo test --bin taos-setup generated`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};
use clap_complete::{generate, Shell};

use super::Cli;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/packaging");

#[test]
fn generated_pages_and_completions_are_those_of_the_command_line() {
    let wanted = files();
    if std::env::var_os("TAOS_GENERATE").is_some() {
        write(&wanted);
    }
    let there = committed();
    for (path, text) in &wanted {
        assert!(
            there.get(path) == Some(text),
            "scripts/packaging/{} is not what the command line says now; \
             run: TAOS_GENERATE=1 cargo test --bin taos-setup generated",
            path.display()
        );
    }
    let stray: Vec<_> = there.keys().filter(|p| !wanted.contains_key(*p)).collect();
    assert!(stray.is_empty(), "nothing generates {stray:?}");
}

/// All of them, by their paths under the folder.
fn files() -> BTreeMap<PathBuf, String> {
    // The page of `help` would be about nothing that the others do not say.
    let mut command = Cli::command().disable_help_subcommand(true);
    command.build();
    let mut files = BTreeMap::new();
    pages(&command, &mut files);
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut text = Vec::new();
        generate(shell, &mut Cli::command(), "taos-setup", &mut text);
        let path = format!("completions/taos-setup.{shell}");
        files.insert(path.into(), utf8(text));
    }
    files
}

/// A page for a command, and one for each below it.
fn pages(command: &Command, files: &mut BTreeMap<PathBuf, String>) {
    let name = command.get_display_name().unwrap_or(command.get_name());
    let mut text = Vec::new();
    clap_mangen::Man::new(command.clone())
        .section("8")
        .source(concat!("taos-setup ", env!("CARGO_PKG_VERSION")))
        .manual("taos-setup")
        .render(&mut text)
        .expect("writing to memory");
    // What stands below the options is about these, and the generator has no better name for it.
    let text = utf8(text).replace(".SH EXTRA", ".SH \"EXIT STATUS\"");
    files.insert(format!("man/{name}.8").into(), text);
    for below in command.get_subcommands() {
        if !below.is_hide_set() {
            pages(below, files);
        }
    }
}

fn utf8(text: Vec<u8>) -> String {
    String::from_utf8(text).expect("text")
}

fn committed() -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    for folder in ["man", "completions"] {
        let entries = std::fs::read_dir(Path::new(FOLDER).join(folder));
        for entry in entries.into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&path).expect("a text file");
            let below = path.strip_prefix(FOLDER).expect("a path below");
            files.insert(below.to_owned(), text);
        }
    }
    files
}

fn write(files: &BTreeMap<PathBuf, String>) {
    for folder in ["man", "completions"] {
        let folder = Path::new(FOLDER).join(folder);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder).expect("making a folder");
    }
    for (path, text) in files {
        std::fs::write(Path::new(FOLDER).join(path), text).expect("writing a file");
    }
}
