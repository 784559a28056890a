//! Extended attributes, of which ACLs and file capabilities are some.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

/// Given by the host's policy to whatever lies where, and not a file's own.
const HOSTS: &[u8] = b"security.selinux";

/// The attributes of a path itself, never of what it leads to.
pub fn of(path: &Path) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let mut list = vec![0; 4096];
    let length = loop {
        match rustix::fs::llistxattr(path, &mut list[..]) {
            Ok(length) => break length,
            Err(Errno::RANGE) => list.resize(list.len() * 4, 0),
            Err(Errno::OPNOTSUPP) => return Ok(BTreeMap::new()),
            Err(error) => return Err(error.into()),
        }
    };
    list[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty() && *name != HOSTS)
        .map(|name| Ok((name.to_vec(), value(path, name)?)))
        .collect()
}

fn value(path: &Path, name: &[u8]) -> io::Result<Vec<u8>> {
    let mut value = vec![0; 1024];
    loop {
        match rustix::fs::lgetxattr(path, name, &mut value[..]) {
            Ok(length) => {
                value.truncate(length);
                return Ok(value);
            }
            Err(Errno::RANGE) => value.resize(value.len() * 8, 0),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives `copy` exactly the attributes of `source`.
pub fn put(source: &Path, copy: &Path) -> io::Result<()> {
    put_all(&of(source)?, copy)
}

/// Gives `copy` exactly these attributes.
pub fn put_all(wanted: &BTreeMap<Vec<u8>, Vec<u8>>, copy: &Path) -> io::Result<()> {
    let there = of(copy)?;
    for name in there.keys().filter(|name| !wanted.contains_key(*name)) {
        rustix::fs::lremovexattr(copy, &name[..])?;
    }
    for (name, value) in wanted {
        if there.get(name) != Some(value) {
            rustix::fs::lsetxattr(copy, &name[..], value, XattrFlags::empty())?;
        }
    }
    Ok(())
}
