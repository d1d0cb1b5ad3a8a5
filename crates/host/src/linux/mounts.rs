//! Where the cgroups that contain a process are in the file system: its `/proc/<pid>/cgroup` and our
//! `/proc/self/mountinfo` put together (cgroups(7), proc(5)).
//!
//! Both name paths in the hierarchy: the cgroup we are in, and the one that is mounted. In a container
//! the second is often deeper than `/` (a bind mount of our own part); with a cgroup namespace both are
//! relative to its root, and what is above it begins with `/..`. The limits that concern us are those
//! from our cgroup up to the mounted one; further up nothing can be seen.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

/// The version of a cgroup hierarchy with the memory controller's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V1,
    V2,
}

/// The cgroups that contain us, from our own up to the mounted one, as paths below the real root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hierarchy {
    pub version: Version,
    pub cgroups: Vec<PathBuf>,
}

/// Every hierarchy that may hold memory limits: that of v1's memory controller and the unified one
/// (hybrid systems have both). `exists` tells whether a directory can be seen.
pub(super) fn hierarchies(
    cgroup: &[u8],
    mountinfo: &[u8],
    exists: impl Fn(&Path) -> bool,
) -> Vec<Hierarchy> {
    let memberships: Vec<(Version, PathBuf)> = lines(cgroup).filter_map(membership).collect();
    let mut found: Vec<Hierarchy> = Vec::new();
    for (version, root, point) in lines(mountinfo).filter_map(mount) {
        let member = memberships.iter().find(|(of, _)| *of == version);
        let Some((_, path)) = member.filter(|_| found.iter().all(|h| h.version != version)) else {
            continue;
        };
        if let Some(cgroups) = chain(&root, &point, path, &exists) {
            found.push(Hierarchy { version, cgroups });
        }
    }
    found
}

/// From our cgroup up to the mount point.
fn chain(
    root: &Path,
    point: &Path,
    path: &Path,
    exists: impl Fn(&Path) -> bool,
) -> Option<Vec<PathBuf>> {
    let below = match path.strip_prefix(root) {
        Ok(below) if below.components().all(|c| matches!(c, Component::Normal(_))) => below,
        // We are outside of what is mounted: its limits are not ours.
        _ if path.starts_with("/..") => return None,
        // The two do not fit together (an outer container's path): what is mounted is most likely
        // our own cgroup.
        _ => Path::new(""),
    };
    let mut cgroups: Vec<PathBuf> = below.ancestors().map(|part| point.join(part)).collect();
    if let Some(seen) = cgroups.iter().position(|cgroup| exists(cgroup)) {
        cgroups.drain(..seen);
        return Some(cgroups);
    }
    None
}

/// `4:memory:/a/b`, `0::/a/b`.
fn membership(line: &[u8]) -> Option<(Version, PathBuf)> {
    let mut parts = line.splitn(3, |b| *b == b':');
    let (number, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
    let version = if controllers.split(|b| *b == b',').any(|name| name == b"memory") {
        Version::V1
    } else if number == b"0" && controllers.is_empty() {
        Version::V2
    } else {
        return None;
    };
    Some((version, path_of(path)))
}

/// `35 31 0:32 /root /mount/point rw,relatime shared:9 - cgroup cgroup rw,memory`.
fn mount(line: &[u8]) -> Option<(Version, PathBuf, PathBuf)> {
    let mut fields = line.split(|b| *b == b' ');
    let root = path_of(&unescape(fields.nth(3)?));
    let point = path_of(&unescape(fields.next()?));
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let version = match rest.next()? {
        b"cgroup2" => Version::V2,
        b"cgroup" if rest.nth(1)?.split(|b| *b == b',').any(|o| o == b"memory") => Version::V1,
        _ => return None,
    };
    Some((version, root, point))
}

fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|b| *b == b'\n').filter(|line| !line.is_empty())
}

fn path_of(bytes: &[u8]) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes.to_vec()))
}

/// Undoes the `\040`s with which mountinfo writes blanks.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        plain.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(cgroup: &str, mountinfo: &str) -> Vec<(Version, Vec<String>)> {
        hierarchies(cgroup.as_bytes(), mountinfo.as_bytes(), |_| true)
            .into_iter()
            .map(|h| (h.version, h.cgroups.iter().map(|c| c.display().to_string()).collect()))
            .collect()
    }

    fn v2(cgroups: &[&str]) -> Vec<(Version, Vec<String>)> {
        vec![(Version::V2, cgroups.iter().map(|c| (*c).to_owned()).collect())]
    }

    #[test]
    fn a_unified_system_shows_every_ancestor() {
        assert_eq!(
            found(
                "0::/user.slice/user-1000.slice\n",
                "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n",
            ),
            v2(&[
                "/sys/fs/cgroup/user.slice/user-1000.slice",
                "/sys/fs/cgroup/user.slice",
                "/sys/fs/cgroup/",
            ])
        );
    }

    #[test]
    fn a_hybrid_system_has_two_hierarchies() {
        let both = found(
            "9:name=systemd:/\n4:cpu,memory:/build\n0::/\n",
            "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpuset\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
        );
        assert_eq!(both[0].0, Version::V1);
        assert_eq!(both[0].1, ["/sys/fs/cgroup/memory/build", "/sys/fs/cgroup/memory/"]);
        assert_eq!(both[1], (Version::V2, vec!["/sys/fs/cgroup/unified/".to_owned()]));
    }

    #[test]
    fn a_bind_mounted_subtree_is_stripped_from_our_path() {
        let mountinfo =
            "35 31 0:32 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n";
        let of = |cgroup| found(cgroup, mountinfo)[0].1.clone();
        assert_eq!(of("4:memory:/docker/abc\n"), ["/sys/fs/cgroup/memory/"]);
        assert_eq!(
            of("4:memory:/docker/abc/inner\n"),
            ["/sys/fs/cgroup/memory/inner", "/sys/fs/cgroup/memory/"]
        );
        assert_eq!(
            of("4:memory:/docker/abcdef\n"),
            ["/sys/fs/cgroup/memory/"],
            "does not fit: the mount"
        );
    }

    #[test]
    fn in_a_cgroup_namespace_only_what_contains_us_counts() {
        let outside = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found("0::/../other\n", outside), [], "beside the mounted cgroup, not in it");
        let above = "30 23 0:26 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(
            found("0::/../other\n", above),
            v2(&["/sys/fs/cgroup/other", "/sys/fs/cgroup/"])
        );
        assert_eq!(found("0::/\n", outside), v2(&["/sys/fs/cgroup/"]));
    }

    #[test]
    fn a_directory_that_cannot_be_seen_gives_way_to_its_ancestors() {
        let seen = hierarchies(
            b"0::/a/b\n",
            b"30 23 0:26 / /cg\\040x rw - cgroup2 cgroup2 rw\n",
            |path| path == Path::new("/cg x"),
        );
        assert_eq!(seen[0].cgroups, [Path::new("/cg x")]);
    }
}
