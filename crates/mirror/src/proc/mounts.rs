//! `/proc/PID/mountinfo`: which file system stands behind a device number.
//!
//! File systems with several devices behind one mount (btrfs) show another number in maps than
//! here: then the answer is `None`.
//! Linux: `fs/proc_namespace.c`.

use std::collections::HashMap;

/// File systems by device number.
#[derive(Clone, Debug, Default)]
pub struct Mounts(HashMap<(u32, u32), Mount>);

/// One file system.
#[derive(Clone, Debug)]
struct Mount {
    fs_type: String,
    /// Of an overlay, the directory of its upper layer.
    upper: Option<String>,
}

impl Mounts {
    /// Reads the text of a mountinfo file.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mount).collect())
    }

    /// The type of the file system with device number `dev`.
    pub fn fs_type(&self, dev: (u32, u32)) -> Option<&str> {
        self.0.get(&dev).map(|mount| mount.fs_type.as_str())
    }

    /// The upper directory of the overlay with device number `dev`, as who mounted it named it.
    pub fn upper(&self, dev: (u32, u32)) -> Option<&str> {
        self.0.get(&dev)?.upper.as_deref()
    }
}

fn mount(line: &str) -> Option<((u32, u32), Mount)> {
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    let (_, tail) = line.split_once(" - ")?;
    let fs_type = tail.split(' ').next()?.to_owned();
    let options = tail.split(' ').next_back()?;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="));
    let upper = upper.filter(|_| fs_type == "overlay").map(str::to_owned);
    Some(((major.parse().ok()?, minor.parse().ok()?), Mount { fs_type, upper }))
}

#[cfg(test)]
mod tests {
    use super::Mounts;

    #[test]
    fn the_type_is_found_after_any_number_of_optional_fields() {
        let text = "22 1 254:10 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
                    23 1 0:5 / /dev rw - devtmpfs dev rw\n\
                    24 1 0:6 / / rw - overlay none rw,lowerdir=/l,upperdir=/u/v,workdir=/w\n";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.fs_type((254, 10)), Some("ext4"));
        assert_eq!(mounts.fs_type((0, 5)), Some("devtmpfs"));
        assert_eq!(mounts.fs_type((9, 9)), None);
        assert_eq!((mounts.upper((0, 6)), mounts.upper((0, 5))), (Some("/u/v"), None));
    }
}
