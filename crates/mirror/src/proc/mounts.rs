//! `/proc/PID/mountinfo`: which file system stands behind a device number.
//!
//! File systems with several devices behind one mount (btrfs) show another number in maps than
//! here: then the answer is `None`.
//! Linux: `fs/proc_namespace.c`.

use std::collections::HashMap;

/// File system types by device number.
#[derive(Clone, Debug, Default)]
pub struct Mounts(HashMap<(u32, u32), String>);

impl Mounts {
    /// Reads the text of a mountinfo file.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mount).collect())
    }

    /// The type of the file system with device number `dev`.
    pub fn fs_type(&self, dev: (u32, u32)) -> Option<&str> {
        self.0.get(&dev).map(String::as_str)
    }
}

fn mount(line: &str) -> Option<((u32, u32), String)> {
    let (major, minor) = line.split(' ').nth(2)?.split_once(':')?;
    let (_, tail) = line.split_once(" - ")?;
    let fs_type = tail.split(' ').next()?;
    Some(((major.parse().ok()?, minor.parse().ok()?), fs_type.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::Mounts;

    #[test]
    fn the_type_is_found_after_any_number_of_optional_fields() {
        let text = "22 1 254:10 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
                    23 1 0:5 / /dev rw - devtmpfs dev rw\n";
        let mounts = Mounts::parse(text);
        assert_eq!(mounts.fs_type((254, 10)), Some("ext4"));
        assert_eq!(mounts.fs_type((0, 5)), Some("devtmpfs"));
        assert_eq!(mounts.fs_type((9, 9)), None);
    }
}
