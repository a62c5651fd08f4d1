//! Recorded programs, asked of the running kernel: new ones, and old ones again.

use super::record::Record;
use super::world::Difference;
use super::{generate, translate};
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
    let mut kernel = begin(lab)?;
    for (count, record) in program.iter().enumerate() {
        let (ret, errno, state) = ask(&mut kernel, record)?;
        if (ret, errno, state.as_str()) != (record.ret, record.errno, record.state.as_str()) {
            let difference = Difference { kernel: record.clone(), ret, errno, state };
            return Ok((count + 1, Some(Box::new(difference))));
        }
    }
    Ok((program.len(), None))
}

/// Plays the random program of `seed`, of up to `count` operations, in the running kernel: its
/// operations with the answers.
/// # Errors
/// Why it cannot be asked.
pub fn record_program(lab: &mut Lab, seed: u64, count: u64) -> Result<Vec<Record>, String> {
    let mut program = generate::program(seed, count);
    let mut kernel = begin(lab)?;
    for record in &mut program {
        (record.ret, record.errno, record.state) = ask(&mut kernel, record)?;
    }
    Ok(program)
}

fn begin(lab: &mut Lab) -> Result<Kernel<'_>, String> {
    if !lab.sees_pages() {
        return Err("the state of pages cannot be seen: this needs root".to_owned());
    }
    let mut kernel = Kernel::new(lab, &translate::setup())?;
    for step in translate::prelude() {
        if let Value::CannotPlay(why) = kernel.play(&step).value {
            return Err(why);
        }
    }
    Ok(kernel)
}

/// Return, errno and state.
fn ask(kernel: &mut Kernel<'_>, record: &Record) -> Result<(i64, i32, String), String> {
    let heard = translate::play(kernel, record);
    let heard = heard.ok_or_else(|| format!("no operation is called {}", record.op))?;
    if let Value::CannotPlay(why) = heard.value {
        return Err(why);
    }
    let (ret, errno) = heard.recorded();
    Ok((ret, errno, heard.state()))
}
