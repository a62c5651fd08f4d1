//! Recorded programs, asked of the running kernel again.

use super::record::Record;
use super::translate;
use super::world::Difference;
use crate::live::{Kernel, Lab};
use crate::scenario::Value;
use crate::world::World;

/// Plays a program in the running kernel: how many operations were asked, and the first that was
/// answered otherwise than recorded.
/// # Errors
/// Why it cannot be asked.
pub fn ask_kernel(
    lab: &mut Lab,
    program: &[Record],
) -> Result<(usize, Option<Box<Difference>>), String> {
    let mut kernel = Kernel::new(lab, &translate::setup())?;
    for step in translate::prelude() {
        if let Value::CannotPlay(why) = kernel.play(&step).value {
            return Err(why);
        }
    }
    for (count, record) in program.iter().enumerate() {
        let Some(heard) = translate::play(&mut kernel, record) else {
            return Err(format!("{} is not known", record.op));
        };
        let (ret, errno) = translate::recorded(&heard.value)?;
        let state = heard.state();
        if (ret, errno, state.as_str()) != (record.ret, record.errno, record.state.as_str()) {
            let difference = Difference { kernel: record.clone(), ret, errno, state };
            return Ok((count + 1, Some(Box::new(difference))));
        }
    }
    Ok((program.len(), None))
}
