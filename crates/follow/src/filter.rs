//! The seccomp filter: stops the calls of the table, and lets all others through.
//!
//! A *block* is what the program has for one call number: its rows one after the other, each with
//! its conditions. Calls of another architecture are let through: nothing is known of them.
//! Linux remembers calls that are let through whatever their arguments (5.11), so most calls do
//! not even run the filter.
//!
//! Linux: `kernel/seccomp.c`, `Documentation/userspace-api/seccomp_filter.rst`.

use crate::calls::table::{Condition, Row};
use libc::sock_filter;

const LOAD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const NUMBER_AT: u32 = 0;
const ARCH_AT: u32 = 4;
const ARGS_AT: u32 = 16;

/// The architecture that calls are looked at of, as the kernel's audit names it.
#[cfg(target_arch = "x86_64")]
pub(crate) const ARCH: u32 = 0xc000_003e;
/// The architecture that calls are looked at of, as the kernel's audit names it.
#[cfg(target_arch = "aarch64")]
pub(crate) const ARCH: u32 = 0xc000_00b7;
/// The architecture that calls are looked at of, as the kernel's audit names it.
#[cfg(target_arch = "riscv64")]
pub(crate) const ARCH: u32 = 0xc000_00f3;

const fn step(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

/// Goes on if the accumulator compares with `k`, else skips `skip` steps.
fn unless(code: u16, k: u32, skip: usize) -> sock_filter {
    sock_filter { code, jt: 0, jf: u8::try_from(skip).unwrap_or(u8::MAX), k }
}

const fn argument_at(arg: u8) -> u32 {
    ARGS_AT + 8 * arg as u32 + if cfg!(target_endian = "big") { 4 } else { 0 }
}

/// The filter that stops the calls of `rows`.
pub(crate) fn program(rows: &[&'static Row]) -> Vec<sock_filter> {
    let mut program = vec![
        step(LOAD, ARCH_AT),
        sock_filter { code: JUMP_IF_EQUAL, jt: 1, jf: 0, k: ARCH },
        step(RETURN, libc::SECCOMP_RET_ALLOW),
        step(LOAD, NUMBER_AT),
    ];
    let mut done = Vec::new();
    for row in rows {
        if !done.contains(&row.number) {
            done.push(row.number);
            let same = rows.iter().filter(|other| other.number == row.number);
            let block: Vec<sock_filter> = same.flat_map(|row| alternative(row)).collect();
            program.push(unless(JUMP_IF_EQUAL, row.number.cast_unsigned() as u32, block.len() + 1));
            program.extend(block);
            program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
        }
    }
    program.push(step(RETURN, libc::SECCOMP_RET_ALLOW));
    program
}

/// The steps that stop the call if the conditions of `row` hold, and fall through if not.
fn alternative(row: &Row) -> Vec<sock_filter> {
    let mut steps = vec![step(RETURN, libc::SECCOMP_RET_TRACE)];
    for condition in row.when.iter().rev() {
        let skip = steps.len();
        let before = match *condition {
            Condition::Is(arg, value) => {
                vec![step(LOAD, argument_at(arg)), unless(JUMP_IF_EQUAL, value, skip)]
            }
            Condition::HasOneOf(arg, bits) => {
                vec![step(LOAD, argument_at(arg)), unless(JUMP_IF_ANY_BIT, bits, skip)]
            }
            Condition::HasNoneOf(arg, bits) => {
                let jt = u8::try_from(skip).unwrap_or(u8::MAX);
                let jump = sock_filter { code: JUMP_IF_ANY_BIT, jt, jf: 0, k: bits };
                vec![step(LOAD, argument_at(arg)), jump]
            }
            Condition::Masked(arg, mask, value) => {
                let jump = unless(JUMP_IF_EQUAL, value, skip);
                vec![step(LOAD, argument_at(arg)), step(AND, mask), jump]
            }
        };
        steps.splice(0..0, before);
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::{ARCH, ARCH_AT, ARGS_AT, program};
    use crate::calls::table::{FILTERED, Row, VERBS_WRITTEN, find};
    use libc::{SECCOMP_RET_ALLOW, SECCOMP_RET_TRACE, sock_filter};

    /// What the kernel would do with a call.
    fn judge(program: &[sock_filter], arch: u32, number: u32, args: &[u64; 6]) -> u32 {
        let (mut at, mut acc) = (0, 0_u32);
        loop {
            let sock_filter { code, jt, jf, k } = program[at];
            at += 1;
            match code {
                super::LOAD if k == ARCH_AT => acc = arch,
                super::LOAD if k < ARCH_AT => acc = number,
                super::LOAD => acc = args[(k - ARGS_AT) as usize / 8] as u32,
                super::AND => acc &= k,
                super::JUMP_IF_EQUAL => at += usize::from(if acc == k { jt } else { jf }),
                super::JUMP_IF_ANY_BIT => at += usize::from(if acc & k != 0 { jt } else { jf }),
                super::RETURN => return k,
                code => panic!("no such step: {code:#x}"),
            }
        }
    }

    fn rows() -> Vec<&'static Row> {
        FILTERED.iter().chain(VERBS_WRITTEN).collect()
    }

    #[test]
    fn the_filter_stops_what_the_table_has_and_nothing_else() {
        let (rows, program) = (rows(), program(&rows()));
        let values = [
            0,
            1,
            2,
            4,
            5,
            6,
            9,
            15,
            16,
            22,
            23,
            34,
            35,
            48,
            128,
            131,
            283,
            0x3b71,
            0x3b85,
            0x4020_ae46,
            0x40a0_ae49,
            0x8010_aebb,
            0x4018_7542,
            0x4008_7543,
            0xc018_1b01,
            0x8000_0016,
            0x2000,
            0x0400_0000,
            0x4000,
            0x1_0000,
            0x7fff_0000_0001,
        ];
        let mut stopped = 0;
        for number in 0..600_u32 {
            for (i, a) in values.iter().enumerate() {
                for b in values {
                    let args = [*a, b, values[(i * 7 + 3) % values.len()], b, *a, 0];
                    let args = [args, [b, *a, b, *a, b, 0]][i % 2];
                    let want = find(&rows, number.into(), &args).is_some();
                    let got = judge(&program, ARCH, number, &args);
                    let expected = if want { SECCOMP_RET_TRACE } else { SECCOMP_RET_ALLOW };
                    assert_eq!(got, expected, "call {number} with {args:x?}");
                    stopped += u32::from(want);
                }
            }
        }
        assert!(stopped > 1000, "only {stopped} calls of the table were tried");
    }

    #[test]
    fn a_call_of_another_architecture_is_let_through() {
        let program = program(&rows());
        for number in 0..600 {
            assert_eq!(judge(&program, 0x4000_0003, number, &[22; 6]), SECCOMP_RET_ALLOW);
        }
    }

    #[test]
    fn every_row_can_be_reached() {
        let (rows, program) = (rows(), program(&rows()));
        for row in &rows {
            let mut args = [0; 6];
            for condition in row.when {
                use crate::calls::table::Condition::{HasNoneOf, HasOneOf, Is, Masked};
                match *condition {
                    Is(arg, value) | Masked(arg, _, value) => args[usize::from(arg)] = value.into(),
                    HasOneOf(arg, bits) => args[usize::from(arg)] = bits.into(),
                    HasNoneOf(..) => {}
                }
            }
            let number = u32::try_from(row.number).unwrap();
            assert_eq!(judge(&program, ARCH, number, &args), SECCOMP_RET_TRACE, "{row:?}");
            let found = find(&rows, number.into(), &args).expect("a row");
            assert_eq!(found.kind, row.kind, "no earlier row hides it");
        }
        assert!(program.len() < 4096, "the kernel takes no more");
    }
}
