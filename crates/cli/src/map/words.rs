//! Sizes, names and sentences that every drawing uses.
//!
//! Names come from the process, which may be hostile: what a terminal would obey is replaced.

use gup_mirror::explain::request::Ask;
use gup_mirror::picture::fate::Fate;
use gup_mirror::picture::{Kind, Picture};
use gup_mirror::proc::kernel::KernelVersion;
use gup_mirror::proc::maps::Area;

use crate::explain::flag_names;

/// A number of pages as a size with three digits at most, such as `132K` or `1.5G`.
pub(crate) fn size(pages: u64) -> String {
    const UNITS: [&str; 6] = ["K", "M", "G", "T", "P", "E"];
    let kib = u128::from(pages) * 4;
    let mut unit = 0;
    while unit + 1 < UNITS.len() && kib >> (10 * (unit + 1)) >= 1 {
        unit += 1;
    }
    let tenths = (kib * 10) >> (10 * unit);
    let name = UNITS[unit];
    if tenths < 100 && !tenths.is_multiple_of(10) {
        format!("{}.{}{name}", tenths / 10, tenths % 10)
    } else {
        format!("{}{name}", tenths / 10)
    }
}

/// What is safe to print.
pub(crate) fn clean(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A short name of an area: the last part of its path, or what kind of memory it is.
pub(crate) fn label(area: &Area) -> String {
    let name = area.name.as_str();
    let short = match name {
        "" if area.perms.shared() => "shared",
        "" => "anonymous",
        _ if name.starts_with('/') => {
            let path = name.strip_suffix(" (deleted)").unwrap_or(name);
            path.rsplit('/').find(|part| !part.is_empty()).unwrap_or(path)
        }
        _ => name,
    };
    clean(short)
}

/// Who pins, as a person names it.
pub(crate) fn asker(picture: &Picture) -> Option<String> {
    Some(match picture.ask? {
        Ask::Consumer(consumer) => consumer.name().to_owned(),
        Ask::Flags(_) => flag_names(picture.ask?.flags()).join("|"),
    })
}

/// Who pins, and on which kernel if that is not the one that runs.
pub(crate) fn asker_on(picture: &Picture, kernel: &KernelVersion) -> Option<String> {
    let (asker, rules) = (asker(picture)?, picture.rules.to_string());
    Some(if rules == kernel.to_string() { asker } else { format!("{asker} on Linux {rules}") })
}

/// What a page is, and what a pin of it would meet.
pub(crate) fn sentence(kind: &Kind) -> String {
    let look = kind.look;
    let mut words = look.state.name().to_owned();
    if look.huge {
        words.push_str(", huge");
    }
    if look.userfault_wp {
        words.push_str(", userfaultfd-protected");
    }
    if look.past_end {
        words.push_str(", past the end of its file");
    }
    match &kind.fate {
        Some(fate) => format!("{words}: {}", outcome(fate)),
        None => words,
    }
}

/// What a pin would meet, in words.
pub(crate) fn outcome(fate: &Fate) -> String {
    match fate {
        Fate::Done(action) => action.sentence().replace("they are", "it is"),
        Fate::Refused { rule, errno } => {
            format!("refused with {errno}: {} ({rule})", rule.row().meaning)
        }
        Fate::Unknown(unseen) => {
            let what: Vec<&str> = unseen.iter().map(|unseen| unseen.sentence()).collect();
            format!("unknown, since not seen: {}", what.join("; "))
        }
    }
}

/// What to do about a refusal; empty if there is nothing.
pub(crate) fn remedy(fate: &Fate) -> &'static str {
    match fate {
        Fate::Refused { rule, .. } => rule.row().remedy,
        Fate::Done(_) | Fate::Unknown(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::{clean, label, size};
    use gup_mirror::proc::maps::Area;

    #[test]
    fn sizes_have_the_unit_that_fits() {
        let table = [
            (0, "0K"),
            (1, "4K"),
            (33, "132K"),
            (384, "1.5M"),
            (512, "2M"),
            (26_214_400, "100G"),
            (1 << 28, "1T"),
            (1 << 52, "16E"),
        ];
        for (pages, want) in table {
            assert_eq!(size(pages), want, "{pages}");
        }
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(clean("a\u{1b}[2Jb\r"), "a?[2Jb?");
        let area = Area::parse("1000-2000 rw-s 0 00:01 9 /tmp/d/x\u{7}y (deleted)").unwrap();
        assert_eq!(label(&area), "x?y");
    }
}
