//! A pool that containers were moved away from, once nothing is left on it.

use super::super::{Note, Refusal};
use crate::facts::{Backing, Facts, Pool, PoolUser, Reference, Server};
use crate::step::{in_use, PoolPlace, PoolSpec, Step};

/// The pools that copy and that containers were on, or their originals, before these steps.
#[must_use]
pub fn emptied(server: &Server, steps: &[Step]) -> Vec<String> {
    let mut pools: Vec<String> = steps
        .iter()
        .filter_map(Step::migrates)
        .map(|of| of.from.clone())
        .filter(|name| server.pool(name).is_some_and(|pool| pool.driver == "dir"))
        .collect();
    pools.sort();
    pools.dedup();
    pools
}

/// The step that deletes a pool which nothing uses any more, once `gone` are gone from it.
///
/// # Errors
/// If anything at all is on it, or points at it.
pub fn may_be_deleted(facts: &Facts, name: &str, gone: &[Reference]) -> Result<Step, Refusal> {
    let refuse = |what: String, hint: String| Err(Refusal::new(what, [hint]));
    let Some((server, pool)) = facts
        .server()
        .and_then(|server| Some((server, server.pool(name)?)))
    else {
        return refuse(
            format!("there is no storage pool {name}"),
            "see them all with: taos-setup status".into(),
        );
    };
    if server.clustered {
        return refuse(
            format!(
                "in a cluster taos-setup deletes no pool: what lies in the folders of {name} on the \
                 other members cannot be seen from here"
            ),
            format!("by hand, once nothing is in them on any member: incus storage delete {name}"),
        );
    }
    let place = match &pool.backing {
        Backing::Directory { path } if pool.driver == "dir" => path.clone(),
        _ => {
            return refuse(
                format!(
                    "taos-setup does not delete {} pools that it did not make",
                    pool.driver
                ),
                format!("by hand, if nothing on it is needed: incus storage delete {name}"),
            )
        }
    };
    let mut rest = pool.clone();
    rest.users
        .retain(|user| !matches!(user, PoolUser::Instance { name } if gone.contains(name)));
    let used = in_use(server, &rest).or_else(|| points_at(server, pool, gone).next());
    if let Some(why) = used {
        return Err(Refusal::new(
            why,
            [
                format!("pool {name} is not deleted, and nothing else was touched"),
                "originals that are kept count, too: taos-setup migrate --finish lets them go"
                    .to_owned(),
            ],
        ));
    }
    let mut config = pool.config.clone();
    config.retain(|key, _| !key.starts_with("volatile."));
    if config.get("source") == Some(&own_folder(facts, name)) {
        // Incus makes that by itself, and refuses it if it is named.
        config.remove("source");
    }
    Ok(Step::DeletePool {
        pool: PoolSpec {
            name: name.to_owned(),
            driver: pool.driver.clone(),
            config,
            description: pool.description.clone(),
            place: PoolPlace::Directory { path: place },
            parts: Vec::new(),
        },
    })
}

/// What to know before a pool of this name is gone.
#[must_use]
pub fn without(name: &str) -> Option<Note> {
    (name == "default").then(|| Note {
        what: "incus-user writes pool default into the profile of each user who comes new, whether there is one or not"
            .into(),
        hint: Some("for such a user run taos-setup again: it points the profile to the pool that clones".into()),
    })
}

fn own_folder(facts: &Facts, name: &str) -> String {
    let root = facts.host.incus_dir.trim_end_matches('/');
    format!("{root}/storage-pools/{name}")
}

/// What names a pool without being among its users: profiles of any project are looked at once more, and so are devices
/// of instances and what is set for projects.
fn points_at<'a>(
    server: &'a Server,
    pool: &'a Pool,
    gone: &'a [Reference],
) -> impl Iterator<Item = String> + 'a {
    let names = move |keys: &crate::facts::Config| keys.get("pool") == Some(&pool.name);
    let profiles = server.profiles.iter().filter_map(move |it| {
        let Reference { project, name } = &it.reference;
        let said = format!(
            "profile {name} of project {project} names pool {}",
            pool.name
        );
        it.devices.values().any(names).then_some(said)
    });
    let instances = server.instances.iter().filter_map(move |it| {
        let stays = !gone.contains(&it.reference);
        let devices = &it.record.expanded_devices;
        let said = format!("{} names pool {}", it.reference, pool.name);
        (stays && devices.values().chain(it.devices.values()).any(names)).then_some(said)
    });
    let projects = server.projects.iter().flat_map(move |(project, config)| {
        let end = format!(".{}", pool.name);
        config
            .keys()
            .filter(move |key| key.contains(".pool.") && key.ends_with(&end))
            .map(move |key| format!("project {project} has {key} set"))
    });
    profiles.chain(instances).chain(projects)
}
