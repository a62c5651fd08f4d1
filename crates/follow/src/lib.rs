//! Running a command, and telling of each of its calls that pins memory and fails.
//!
//! [`start`] begins the command with a seccomp filter that stops it only at calls that pin
//! ([`calls::table`]), and [`trace`] follows it with ptrace: such a call is let through, looked at
//! when it returns, and if it failed it becomes a [`trace::failed::Failed`] while its thread is
//! still stopped. What was asked is decoded from the arguments ([`calls::decode`]).
//!
//! Invariants: nothing is written into the command's processes; every signal, stop, exec and exit
//! status of theirs is as without us; calls that are not in the table cost nothing.
//!
//! Absent: verdicts (crate `gup-mirror`), printing, and any decision about pages.

pub mod calls;
mod errno;
mod filter;
pub mod start;
mod sys;
pub mod trace;
