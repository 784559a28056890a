use std::os::unix::fs::{symlink, PermissionsExt};

use super::*;

/// Two equal trees.
fn twins() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (source, copy) = (folder.path().join("source"), folder.path().join("copy"));
    fs::create_dir_all(source.join("a/b")).unwrap();
    fs::write(source.join("a/one"), "one").unwrap();
    fs::hard_link(source.join("a/one"), source.join("a/b/two")).unwrap();
    fs::write(source.join("a/other"), "one").unwrap();
    symlink("nowhere", source.join("link")).unwrap();
    fs::write(source.join("backup.yaml"), "the daemon's").unwrap();
    let copied = std::process::Command::new("cp")
        .args(["-a"])
        .args([&source, &copy])
        .status();
    assert!(copied.unwrap().success());
    (folder, source, copy)
}

fn found(source: &Path, copy: &Path) -> Vec<String> {
    let found = compare(source, copy, Contents::All, &["backup.yaml"]).unwrap();
    let mut lines: Vec<String> = found.differences.iter().map(ToString::to_string).collect();
    lines.sort();
    lines
}

fn mended(source: &Path, copy: &Path) -> Vec<String> {
    let found = compare(source, copy, Contents::All, &["backup.yaml"]).unwrap();
    mend(source, copy, &found.differences, true).unwrap();
    self::found(source, copy)
}

#[test]
fn equal_trees_are_equal_but_for_what_is_skipped() {
    let (_folder, source, copy) = twins();
    fs::write(copy.join("backup.yaml"), "another").unwrap();
    assert!(found(&source, &copy).is_empty());
    assert_eq!(
        compare(&source, &copy, Contents::All, &[])
            .unwrap()
            .differences
            .len(),
        2
    );
}

#[test]
fn the_same_size_and_time_do_not_hide_other_bytes() {
    let (_folder, source, copy) = twins();
    let time = fs::metadata(source.join("a/other"))
        .unwrap()
        .modified()
        .unwrap();
    fs::write(copy.join("a/other"), "two").unwrap();
    File::options()
        .write(true)
        .open(copy.join("a/other"))
        .and_then(|file| file.set_modified(time))
        .unwrap();
    assert_eq!(found(&source, &copy), ["a/other has other content"]);
    assert_eq!(
        stale(&source, &copy, i64::MIN..i64::MAX, &[], &Meter::default())
            .unwrap()
            .differences
            .len(),
        1
    );
    assert!(stale(&source, &copy, i64::MIN..0, &[], &Meter::default())
        .unwrap()
        .differences
        .is_empty());
    let later = compare(&source, &copy, Contents::Since(i64::MAX), &[]).unwrap();
    assert!(later.differences.is_empty() && later.read == 0);
    assert!(mended(&source, &copy).is_empty());
}

#[test]
fn hard_links_modes_and_times_are_mended() {
    let (_folder, source, copy) = twins();
    for path in ["a/b/two", "a/other"] {
        fs::remove_file(copy.join(path)).unwrap();
    }
    fs::copy(source.join("a/b/two"), copy.join("a/b/two")).unwrap();
    fs::hard_link(copy.join("a/one"), copy.join("a/other")).unwrap();
    fs::set_permissions(
        copy.join("link").with_file_name("a"),
        PermissionsExt::from_mode(0o700),
    )
    .unwrap();
    let lines = found(&source, &copy).join("; ");
    assert!(
        lines.contains("is no hard link of") && lines.contains("a has another mode"),
        "{lines}"
    );
    assert!(
        lines.contains("is a hard link of something else"),
        "{lines}"
    );
    // What is one file and should be two cannot be told apart from here: it is not mended.
    let left = mended(&source, &copy);
    assert!(
        left.iter().all(|line| line.contains("hard link")),
        "{left:?}"
    );
    fs::remove_file(copy.join("a/other")).unwrap();
    fs::copy(source.join("a/other"), copy.join("a/other")).unwrap();
    assert!(
        mended(&source, &copy).is_empty(),
        "{:?}",
        found(&source, &copy)
    );
}

#[test]
fn what_is_missing_or_more_stays_so() {
    let (_folder, source, copy) = twins();
    fs::write(copy.join("more"), "").unwrap();
    fs::remove_file(copy.join("a/other")).unwrap();
    fs::remove_file(copy.join("link")).unwrap();
    symlink("elsewhere", copy.join("link")).unwrap();
    let left = mended(&source, &copy);
    for line in [
        "more is only in the copy",
        "a/other is missing in the copy",
        "link leads elsewhere",
    ] {
        assert!(left.iter().any(|it| it == line), "{left:?}");
    }
}

#[test]
fn names_are_bytes_and_shown_on_one_line() {
    use std::ffi::OsStr;
    let (_folder, source, copy) = twins();
    fs::write(source.join(OsStr::from_bytes(b"new\nline\xff")), "").unwrap();
    assert!(found(&source, &copy).contains(&"new\\nline\\xff is missing in the copy".to_owned()));
}

#[test]
fn what_lands_counts_each_link_as_a_file_and_what_two_trees_have_in_common_once() {
    let (_folder, source, copy) = twins();
    let bytes = |size: usize| vec![7; size];
    let landing = |trees: &[&Path]| {
        let mut landing = Landing::default();
        for tree in trees {
            landing.add(tree);
        }
        landing
    };
    fs::write(source.join("big"), bytes(1 << 20)).unwrap();
    let alone = landing(&[&source]);
    fs::hard_link(source.join("big"), source.join("a/again")).unwrap();
    let linked = landing(&[&source]);
    assert_eq!(linked.paths, alone.paths + 1);
    assert_eq!(linked.shared, alone.shared + (1 << 20));
    let twice = landing(&[&source, &source]);
    assert!(twice.shared < linked.shared + (1 << 20), "{twice:?}");
    assert_eq!(twice.unshared, 2 * linked.unshared);
    assert_eq!(twice.largest, linked.largest);
    // What was there, was gone, and is there again is sent again.
    let back = landing(&[&source, &copy, &source]);
    assert!(back.shared >= linked.shared + (2 << 20), "{back:?}");
    assert!(back.subvolumes.is_empty());
}
