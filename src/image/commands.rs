//! `image status`, `image verify`, `image remove`.

use std::path::Path;

use anyhow::Result;

use crate::host::{download, Machine};
use crate::incus::images;
use crate::plan::image::{Digest, ALIAS};
use crate::plan::Refusal;
use crate::ui::{Answer, Ui};

use super::{look, take_lock, Ending, Progress, Wanted, AGAIN};

/// Shows how far it is; with `watch` until it is through.
///
/// # Errors
/// If the document cannot be written.
pub fn show(machine: &Machine, ui: &Ui, json: bool, watch: bool) -> Result<()> {
    let mut last: Option<Progress> = None;
    let bar = ui.fetching();
    loop {
        let progress = Progress::read(&machine.paths.image_status);
        if last.as_ref() != Some(&progress) {
            if json {
                println!("{}", serde_json::to_string(&progress)?);
            } else if !watch || last.as_ref().map(|last| last.status) != Some(progress.status) {
                for line in lines(&progress) {
                    bar.say(&line);
                }
            } else {
                bar.bytes(progress.bytes, progress.total);
            }
        }
        if !watch || !progress.status.going_on() {
            bar.end();
            return Ok(());
        }
        last = Some(progress);
        std::thread::sleep(AGAIN);
    }
}

fn lines(progress: &Progress) -> Vec<String> {
    use crate::facts::Bytes;
    let mut lines = vec![format!("The base image: {}", progress.status.word())];
    let mut add = |name: &str, value: Option<String>| {
        lines.extend(value.map(|value| format!("  {name:<12}{value}")));
    };
    add("from", progress.url.clone());
    add("since", progress.started_at.clone());
    if progress.bytes > 0 {
        let total = progress.total.map(|total| format!(" of {}", Bytes(total)));
        let here = format!("{}{}", Bytes(progress.bytes), total.unwrap_or_default());
        add("here", Some(here));
    }
    if progress.rate > 0 {
        add("rate", Some(format!("{}/s", Bytes(progress.rate))));
    }
    add("fingerprint", progress.fingerprint.clone());
    add("checked", progress.proof.clone());
    for it in &progress.members {
        let state = match (it.unpacked, &it.why) {
            (true, _) => "unpacked".to_owned(),
            (false, Some(why)) => format!("not unpacked: {why}"),
            (false, None) => "not unpacked".to_owned(),
        };
        let pool = it.pool.as_ref().map(|pool| format!(" on pool {pool}"));
        let place = format!("{}{}", it.member, pool.unwrap_or_default());
        add("member", Some(format!("{place}: {state}")));
    }
    let copies = progress.copies.as_ref();
    add(
        "copies",
        copies.map(|number| format!("{number} of its file (cluster.images_minimal_replica)")),
    );
    add("error", progress.error.clone());
    lines
}

/// Looks whether the image that is here is whole: its file, its content, its name in each project,
/// unpacked where launches need it.
#[must_use]
pub fn verify(machine: &Machine, wanted: &Wanted) -> Ending {
    verified(machine, wanted).unwrap_or_else(Ending::from)
}

fn verified(machine: &Machine, wanted: &Wanted) -> Result<Ending> {
    let (server, store) = look(machine)?;
    let mut unread = "";
    let hint = "to fetch it anew: taos-setup image fetch --refresh";
    let mut seen: Vec<String> = Vec::new();
    let mut images: Vec<&str> = Vec::new();
    for target in &store.targets {
        let found = store
            .images
            .iter()
            .find(|image| image.project == target.project && image.is_base());
        let Some(image) = found else {
            let what = format!("project {} has no image {ALIAS}", target.project);
            return Ok(Ending::failed(what, "to fetch it: taos-setup image fetch"));
        };
        seen.push(target.project.clone());
        if !images.contains(&image.fingerprint.as_str()) {
            images.push(&image.fingerprint);
        }
    }
    for fingerprint in &images {
        if wanted
            .sha256
            .as_ref()
            .is_some_and(|digest| digest.as_str() != *fingerprint)
        {
            let what = format!("the base image is {fingerprint}, which is not what was asked for");
            return Ok(Ending::failed(what, hint));
        }
        let path = machine.paths.incus.join("images").join(fingerprint);
        if server.clustered && !path.exists() {
            unread = " (its file is kept on other members, and was not read)";
        } else if let Some(wrong) = wrong_file(&path, fingerprint)? {
            return Ok(Ending::failed(wrong, hint));
        }
        let cold = store.cold_spots(fingerprint);
        if !cold.is_empty() {
            let spots: Vec<String> = cold.iter().map(ToString::to_string).collect();
            let what = format!("the base image is not unpacked on {}", spots.join(", "));
            return Ok(Ending::failed(what, "to unpack it: taos-setup image fetch"));
        }
    }
    Ok(Ending::Done(format!(
        "the base image is whole, has its name in project {}, and is unpacked where launches need it: {}{unread}",
        seen.join(", "),
        images.join(", ")
    )))
}

fn wrong_file(path: &Path, fingerprint: &str) -> Result<Option<String>> {
    let (digest, _, scan) = download::read_here(path)?;
    if digest.as_str() != fingerprint {
        return Ok(Some(format!(
            "the base image's file {} is damaged: its digest is {digest}",
            path.display()
        )));
    }
    Ok(scan
        .err()
        .map(|why| format!("the base image is none for this host: {why}")))
}

/// Removes the image from every project, and what there is of a fetch.  Instances that were made
/// from it stay as they are.
#[must_use]
pub fn remove(machine: &Machine, ui: &Ui, yes: bool, dry_run: bool) -> Ending {
    removed(machine, ui, yes, dry_run).unwrap_or_else(Ending::from)
}

fn removed(machine: &Machine, ui: &Ui, yes: bool, dry_run: bool) -> Result<Ending> {
    let _lock = take_lock(machine)?;
    let (_, store) = look(machine)?;
    let mut commands = Vec::new();
    let mut names = Vec::new();
    for image in &store.images {
        let of_target = store
            .targets
            .iter()
            .any(|target| target.project == image.project);
        let staged = image.marked && image.aliases.is_empty();
        if of_target && (image.is_base() || staged) {
            commands.push(images::delete(&image.fingerprint, &image.project));
            let digest: Result<Digest, _> = image.fingerprint.parse();
            let short = digest.map_or_else(|_| image.fingerprint.clone(), |d| d.short().to_owned());
            names.push(format!("{short} of project {}", image.project));
        }
    }
    let (here, _) = download::progress(&machine.paths.image_folder);
    if commands.is_empty() && here == 0 {
        return Ok(Ending::Done("there is no base image to remove".into()));
    }
    ui.say(&format!(
        "To remove: {}. Instances that were made from it stay; the next deploy takes longer.",
        if names.is_empty() {
            "a part that was fetched".into()
        } else {
            names.join(", ")
        }
    ));
    if dry_run {
        return Ok(Ending::Done("nothing was changed".into()));
    }
    if !yes {
        let answer = if ui.interactive() {
            ui.ask()
        } else {
            Answer::No
        };
        if answer != Answer::Yes {
            return Ok(Ending::Refused(Refusal::new(
                "nothing was changed, as there was no yes",
                ["to remove it without being asked: taos-setup --yes image remove"],
            )));
        }
    }
    for argv in &commands {
        machine.run(argv, machine.bounds.change)?;
    }
    download::remove(&machine.paths.image_folder)?;
    match std::fs::remove_file(&machine.paths.image_status) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Ending::Done("the base image is removed".into()))
}
