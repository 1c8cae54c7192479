//! Who files belong to: `COPY --chown`, by number or by the names that the image knows.
//!
//! <https://docs.docker.com/reference/dockerfile/#copy---chown---chmod>

use std::io::Read;

use crate::dockerfile::Problem;
use crate::layer;
use crate::layout::Layout;
use crate::spec::Descriptor;
use crate::tarball::Owner;

/// Most of a file of names that is read, in bytes.
const NAMES_MAX: u64 = 1 << 20;

/// The owner that `user`, `user:group` or `:group` means in an image of these layers. A user
/// without a group stands for the group of the same number, or for the one in `/etc/passwd`.
pub(super) fn owner(text: &str, layers: &[Descriptor], out: &Layout) -> Result<Owner, Problem> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    let unknown = |what: &'static str, name: &str| Problem::UnknownOwner {
        name: name.to_owned(),
        file: what,
    };
    let (uid, own_group) = match user.parse::<u32>() {
        Ok(uid) => (uid, uid),
        Err(_) if user.is_empty() => (0, 0),
        Err(_) => {
            let passwd = file(layers, out, "etc/passwd");
            let found = fields(&passwd, user, [2, 3]);
            let [uid, gid] = found.ok_or_else(|| unknown("/etc/passwd", user))?;
            (uid, gid)
        }
    };
    let gid = match group {
        None | Some("") => own_group,
        Some(group) => match group.parse::<u32>() {
            Ok(gid) => gid,
            Err(_) => {
                let groups = file(layers, out, "etc/group");
                let found = fields(&groups, group, [2, 2]);
                found.ok_or_else(|| unknown("/etc/group", group))?[0]
            }
        },
    };
    Ok(Owner { uid, gid })
}

/// Two numbers of the line that begins with a name.
fn fields(text: &str, name: &str, at: [usize; 2]) -> Option<[u32; 2]> {
    text.lines().find_map(|line| {
        let parts: Vec<&str> = line.split(':').collect();
        if parts.first() != Some(&name) {
            return None;
        }
        let number = |at: usize| parts.get(at)?.trim().parse().ok();
        Some([number(at[0])?, number(at[1])?])
    })
}

/// The text of a file in the topmost layer that has it; nothing where none has.
fn file(layers: &[Descriptor], out: &Layout, path: &str) -> String {
    let in_layer = |descriptor: &Descriptor| -> Option<String> {
        let file = std::fs::File::open(out.blob_path(&descriptor.digest)).ok()?;
        let mut archive = tar::Archive::new(layer::decompressed(file).ok()?);
        for entry in archive.entries().ok()? {
            let entry = entry.ok()?;
            let found = entry.path().ok()?.to_string_lossy().into_owned();
            if found.trim_start_matches("./").trim_start_matches('/') == path {
                let mut text = String::new();
                entry.take(NAMES_MAX).read_to_string(&mut text).ok()?;
                return Some(text);
            }
        }
        None
    };
    layers.iter().rev().find_map(in_layer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_by_their_line() {
        let passwd = "root:x:0:0:root:/:/sh\napp:x:10001:20002::/app:/x\n";
        assert_eq!(fields(passwd, "app", [2, 3]), Some([10001, 20002]));
        assert_eq!(fields(passwd, "ap", [2, 3]), None);
        assert_eq!(fields("app:x:7:\n", "app", [2, 2]), Some([7, 7]));
    }
}
