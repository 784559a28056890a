use std::time::Duration;

use super::*;
use crate::step::NetworkSpec;

fn steps() -> Vec<Step> {
    ["one", "two"]
        .map(|name| Step::CreateNetwork {
            network: NetworkSpec {
                members: Vec::new(),
                name: name.into(),
                fallback: "10.1.2.1/24".into(),
            },
        })
        .to_vec()
}

fn lock(folder: &Path) -> Lock {
    Lock::acquire(folder, Duration::ZERO, || ())
        .map_err(|_| "locked")
        .unwrap()
}

#[test]
fn a_run_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    assert!(records(&folder.path().join("none")).unwrap().is_empty());
    let lock = lock(folder.path());
    let mut writer = lock.begin(&steps()).unwrap();
    writer.begin(0).unwrap();
    writer.done(0).unwrap();
    writer.begin(1).unwrap();
    let record = records(folder.path()).unwrap().remove(0);
    assert_eq!(record.steps, steps());
    assert_eq!(record.progress, [Progress::Done, Progress::Begun]);
    assert_eq!((record.end, record.back.clone()), (None, None));
    assert_eq!(record.remaining(), steps()[1..]);
    let mut writer = lock.resume(&record).unwrap();
    writer.back("why").unwrap();
    writer.undo(1).unwrap();
    writer.undone(1).unwrap();
    assert!(
        lock.resume(&record).is_err(),
        "a record that is out of date"
    );
    let record = records(folder.path()).unwrap().remove(0);
    assert_eq!(record.progress, [Progress::Done, Progress::Undone]);
    assert_eq!(record.back.as_deref(), Some("why"));
    writer.end(End::Undone).unwrap();
    assert_eq!(records(folder.path()).unwrap()[0].end, Some(End::Undone));
}

#[test]
fn runs_are_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let lock = lock(folder.path());
    for _ in 0..11 {
        lock.begin(&steps()).unwrap().end(End::Completed).unwrap();
    }
    let mut writer = lock.begin(&steps()[..1]).unwrap();
    writer.skipped(0).unwrap();
    let found = records(folder.path()).unwrap();
    assert_eq!(found.len(), 12);
    assert_eq!(found[11].progress, [Progress::Skipped]);
    assert!(found[11].made().is_empty());
}

#[test]
fn torn_at_any_byte_it_tells_what_was_whole() {
    let folder = tempfile::tempdir().unwrap();
    let lock = lock(folder.path());
    let mut writer = lock.begin(&steps()).unwrap();
    writer.begin(0).unwrap();
    writer.done(0).unwrap();
    writer.begin(1).unwrap();
    let path = folder.path().join("run-000001.jsonl");
    let whole = fs::read(&path).unwrap();
    let first = whole.iter().position(|byte| *byte == b'\n').unwrap();
    for length in 0..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let found = records(folder.path()).unwrap();
        if length <= first {
            assert!(found.is_empty(), "{length}");
            continue;
        }
        // What is appended to a torn line must not become part of it.
        lock.resume(&found[0]).unwrap().end(End::Completed).unwrap();
        let again = records(folder.path()).unwrap().remove(0);
        assert_eq!(again.progress, found[0].progress, "{length}");
        assert_eq!(again.end, Some(End::Completed), "{length}");
    }
}

#[test]
fn a_damaged_journal_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for text in [
        "nonsense\n",
        "{\"begin\":0}\n",
        "{\"approved\":{\"format\":99,\"program\":\"\",\"time\":\"\",\"steps\":[]}}\n",
    ] {
        fs::write(folder.path().join("run-000001.jsonl"), text).unwrap();
        assert!(records(folder.path()).is_err(), "{text}");
    }
}

#[test]
fn a_second_run_is_told_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let _lock = lock(folder.path());
    match Lock::acquire(folder.path(), Duration::ZERO, || ()) {
        Err(NotLocked::Held { by }) => {
            assert!(by.contains(&std::process::id().to_string()), "{by}");
        }
        _ => panic!("locked twice"),
    }
}
