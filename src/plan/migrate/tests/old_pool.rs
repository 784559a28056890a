//! The pool that containers were moved away from: deleted only if nothing at all uses it.

use super::*;
use crate::facts::PoolUser;
use crate::plan::samples::device;

/// `default` is `dir` and empty but for an image; launches go to `taos`.
fn left(change: impl FnOnce(&mut Server)) -> Facts {
    let image = PoolUser::Image {
        fingerprint: "0123456789abcdef".into(),
    };
    Sample::set_up("dir")
        .pool("taos", "btrfs")
        .device("default", "root", "disk path=/ pool=taos")
        .instance("mary")
        .user("default", image)
        .server(change)
        .facts()
}

#[test]
fn an_empty_one_may_go_and_can_be_made_again() {
    let step = may_be_deleted(&left(|_| ()), "default", &[]).unwrap();
    assert_eq!(
        step.describe(),
        "delete storage pool default (dir, folder /var/lib/incus/storage-pools/default), which is \
         empty"
    );
    let Some(Step::CreatePool { pool }) = step.undo() else {
        panic!("{:?}", step.undo());
    };
    assert_eq!(pool.config, Config::new(), "made by naming no folder");
    let chosen = left(|it| {
        let config = &mut it.pools[0].config;
        config.insert("rsync.bwlimit".into(), "1MiB".into());
        config.insert("volatile.initial_source".into(), "x".into());
    });
    let Ok(Step::DeletePool { pool }) = may_be_deleted(&chosen, "default", &[]) else {
        panic!("not deleted");
    };
    let keys: Vec<&String> = pool.config.keys().collect();
    assert_eq!(keys, ["rsync.bwlimit"], "what somebody chose comes back");
}

#[test]
fn anything_that_uses_it_or_points_at_it_keeps_it() {
    let volume = || PoolUser::Volume {
        name: reference("data"),
    };
    let cases: Vec<(Change, &str)> = vec![
        (
            Box::new(|it| {
                let name = reference("naira");
                it.pools[0].users.push(PoolUser::Instance { name });
            }),
            "instance naira",
        ),
        (
            Box::new(move |it| it.pools[0].users.push(volume())),
            "custom volume data",
        ),
        (
            Box::new(|it| {
                let url = "/1.0/new/thing".into();
                it.pools[0].users.push(PoolUser::Other { url });
            }),
            "/1.0/new/thing",
        ),
        (
            Box::new(|it| {
                let volume = "default/images".to_owned();
                it.daemon_volumes
                    .insert("storage.images_volume".into(), volume);
            }),
            "storage.images_volume=default/images",
        ),
        (
            Box::new(|it| {
                let volume = "default/backups".to_owned();
                it.daemon_volumes
                    .insert("storage.backups_volume".into(), volume);
            }),
            "storage.backups_volume",
        ),
        (
            Box::new(|it| it.pools[0].stray_files = vec!["/x/containers/lost".into()]),
            "files in /x/containers/lost",
        ),
        (
            Box::new(|it| {
                let reference = reference("far/web");
                let data = device("disk path=/data pool=default source=data");
                let devices = crate::facts::Devices::from([("data".to_owned(), data)]);
                it.profiles
                    .push(crate::facts::Profile { reference, devices });
            }),
            "profile far/web",
        ),
        (
            Box::new(|it| {
                let data = device("disk path=/data pool=default");
                mary(it).devices.insert("data".into(), data);
            }),
            "mary names pool default",
        ),
        (
            Box::new(|it| {
                let limit = ("limits.disk.pool.default".to_owned(), "1GiB".to_owned());
                it.projects.insert("far".into(), Config::from([limit]));
            }),
            "project far has limits.disk.pool.default set",
        ),
    ];
    for (change, says) in cases {
        let refusal = may_be_deleted(&left(change), "default", &[]).unwrap_err();
        assert!(refusal.what.contains(says), "{says}: {refusal}");
    }
    let refusal = may_be_deleted(&left(|_| ()), "taos", &[]).unwrap_err();
    assert!(refusal.what.contains("does not delete btrfs"), "{refusal}");
    assert!(may_be_deleted(&left(|_| ()), "nowhere", &[]).is_err());
}

#[test]
fn originals_that_go_first_do_not_count() {
    let facts = left(|it| {
        let name = reference("taos-kept-mary");
        it.pools[0].users.push(PoolUser::Instance { name });
    });
    assert!(may_be_deleted(&facts, "default", &[]).is_err());
    let gone = [reference("taos-kept-mary")];
    assert!(may_be_deleted(&facts, "default", &gone).is_ok());
}
