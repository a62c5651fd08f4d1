//! `/proc/PID/stat`: which program a process runs, so that an exec or an end during a look is seen.
//!
//! An *image* is what exec replaces: where code and stack begin, which differs between two execs of
//! the same file where addresses are random. Linux: `fs/proc/array.c` `do_task_stat`.

/// What exec replaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Where the program's code begins, a byte address; 0 once the process has ended.
    pub code: u64,
    /// Where its stack begins, a byte address.
    pub stack: u64,
}

/// Where the fields stand that follow the name: state, start of code, start of stack.
const STATE: usize = 0;
const START_CODE: usize = 23;
const START_STACK: usize = 25;

impl Image {
    /// Reads the text of `stat`; `None` for a process that has ended, and for what is no such text.
    pub fn parse(text: &str) -> Option<Self> {
        // The name may contain anything, also parentheses.
        let (_, fields) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        if matches!(*fields.get(STATE)?, "Z" | "X" | "x") {
            return None;
        }
        let number = |at: usize| fields.get(at)?.parse().ok();
        Some(Self { code: number(START_CODE)?, stack: number(START_STACK)? })
    }
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn the_name_may_contain_anything() {
        let numbers: Vec<String> = (4..=52).map(|field: u32| field.to_string()).collect();
        let text = format!("17 (odd) name) S {}\n", numbers.join(" "));
        assert_eq!(Image::parse(&text), Some(Image { code: 26, stack: 28 }));
        assert_eq!(Image::parse(&text.replace(") S", ") Z")), None);
        assert_eq!(Image::parse("17 (cut) S 1"), None);
    }
}
