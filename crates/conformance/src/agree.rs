//! Prediction beside truth: the same consumer and range, explained in the engine and asked of the
//! kernel.
//!
//! The process is explained first, since asking changes its pages. What cannot be made or asked is
//! no agreement and no difference.

use crate::ask::answer::{Answer, Asked};
use crate::ask::driver::Driver;
use crate::fixture::kind::Kind;
use crate::fixture::subject::{NoSubject, Workshop};
use gup::errno::Errno;
use gup_mirror::consumer::{Answers, Consumer};
use gup_mirror::explain::explain;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::explain::verdict::{Call, Verdict};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;

/// How one question ended.
#[derive(Debug)]
pub enum Comparison {
    /// Both were asked.
    Both(Box<Pair>),
    /// This machine cannot make the kind; the reason.
    CannotMake(String),
    /// The kernel cannot be asked here; the reason.
    CannotAsk(String),
    /// The prediction could not be made; the reason.
    CannotExplain(String),
}

/// The prediction and the truth.
#[derive(Debug)]
pub struct Pair {
    /// What the engine says.
    pub verdict: Verdict,
    /// What the kernel says.
    pub kernel: Answer,
}

/// How prediction and truth compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Both say the same.
    Same,
    /// They do not, and the prediction says what it did not see.
    Unknown,
    /// They do not.
    Differs,
}

impl Pair {
    /// What the engine says, in the kernel's form.
    pub fn predicted(&self) -> Answer {
        self.verdict.call.map_or(Answer { ret: 0, errno: 0, mask: 0 }, in_kernels_form)
    }

    /// How the two compare.
    pub fn outcome(&self) -> Outcome {
        match self.predicted() == self.kernel {
            true => Outcome::Same,
            false if self.verdict.unseen.is_empty() => Outcome::Differs,
            false => Outcome::Unknown,
        }
    }
}

fn in_kernels_form(call: Call) -> Answer {
    Answer { ret: call.ret, errno: call.errno.map_or(0, Errno::raw), mask: call.mask }
}

/// The driver that asks what `consumer` would get; `None` if there is none.
pub const fn driver_of(consumer: Consumer) -> Option<Driver> {
    Some(match consumer {
        Consumer::ProcessVmReadv => Driver::VmRead,
        Consumer::ProcessVmWritev => Driver::VmWrite,
        Consumer::ProcMemRead => Driver::MemRead,
        Consumer::ProcMemWrite => Driver::MemWrite,
        Consumer::PtracePeek => Driver::Peek,
        Consumer::PtracePoke => Driver::Poke,
        Consumer::MadvisePopulateRead => Driver::PopulateRead,
        Consumer::MadvisePopulateWrite => Driver::PopulateWrite,
        Consumer::Mlock => Driver::Mlock,
        Consumer::MlockOnfault => Driver::MlockOnfault,
        Consumer::Vmsplice => Driver::Vmsplice,
        Consumer::GetMempolicy => Driver::Mempolicy,
        Consumer::Futex => Driver::FutexWake,
        Consumer::ODirectWrite => Driver::DirectWrite,
        Consumer::ODirectRead => Driver::DirectRead,
        Consumer::IoUringBuffer => Driver::RingBuffer,
        Consumer::IoUringPbuf => Driver::RingPbuf,
        Consumer::XdpUmem => Driver::XdpUmem,
        Consumer::ProcCmdline => Driver::Cmdline,
        Consumer::Coredump => Driver::CoreDump,
        Consumer::Uprobe => Driver::Uprobe,
        Consumer::Kvm => Driver::KvmGuest,
        Consumer::Rdma | Consumer::RdmaReadonly | Consumer::Vfio => return None,
    })
}

/// Explains and asks what `consumer` gets from a fresh range of `kind`.
pub fn compare(workshop: &Workshop, kind: Kind, consumer: Consumer) -> Comparison {
    let Some(driver) = driver_of(consumer) else {
        return Comparison::CannotAsk("there is no such call on this machine".into());
    };
    let mut subject = match workshop.start(kind) {
        Ok(subject) => subject,
        Err(NoSubject::CannotMake(why)) => return Comparison::CannotMake(why),
        Err(NoSubject::Broken(error)) => return Comparison::CannotMake(error.to_string()),
    };
    let range = subject.range();
    let verdict = match predict(subject.pid(), range.start, range.len_bytes() as u64, consumer) {
        Ok(verdict) => verdict,
        Err(why) => return Comparison::CannotExplain(why),
    };
    match subject.ask(driver) {
        Asked::Answer(kernel) => {
            let kernel = for_caller(consumer, kernel);
            Comparison::Both(Box::new(Pair { verdict, kernel }))
        }
        Asked::Cannot(why) => Comparison::CannotAsk(why),
    }
}

fn predict(pid: u32, start: u64, len: u64, consumer: Consumer) -> Result<Verdict, String> {
    let process = Process::open(pid).map_err(|error| error.to_string())?;
    let range = ByteRange::new(start, len).map_err(|error| error.to_string())?;
    let request = Request { ask: Ask::Consumer(consumer), range };
    explain(&process, &request).map_err(|error| error.to_string())
}

/// The answer as the caller of `consumer` sees it: of calls per page of which none works, -1.
fn for_caller(consumer: Consumer, answer: Answer) -> Answer {
    let none = consumer.answers() == Answers::PerPage && answer.mask == 0;
    Answer { ret: if none { -1 } else { answer.ret }, ..answer }
}
