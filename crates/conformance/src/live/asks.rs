//! System calls that get or pin pages, as orders to a subject or calls of the controller.

use super::acts::{edit, put};
use super::kernel::{Kernel, cannot, count, done};
use super::remote::{ROOM, open_mem};
use super::subject as orders;
use crate::ask::answer::{Answer, Asked};
use crate::ask::driver::{Caller, Driver};
use crate::ask::{core, uprobe};
use crate::fixture::subject::Range;
use crate::scenario::{Length, Reach, Span, Value};
use crate::sys::PAGE;
use gup::errno::Errno;

/// Asks through `driver`. A call that is forbidden here, or that this kernel lacks, is no answer.
pub(super) fn ask(
    kernel: &mut Kernel<'_>,
    process: &str,
    driver: Driver,
    span: &Span,
) -> Result<Value, Value> {
    let value = put_driver(kernel, process, driver, span)?;
    let forbidden = [Errno::EPERM, Errno::ENOSYS, Errno::EACCES];
    match value {
        Value::Failed(errno) | Value::PerPage { last: Some(errno), .. }
            if forbidden.contains(&errno) && driver != Driver::Mlock =>
        {
            Err(cannot(format!("{} is not permitted here: {errno:?}", driver.name())))
        }
        value => Ok(value),
    }
}

fn put_driver(
    kernel: &mut Kernel<'_>,
    process: &str,
    driver: Driver,
    span: &Span,
) -> Result<Value, Value> {
    let (start, bytes) = kernel.span(process, span)?;
    let whole = Span { at: span.at.clone(), len: Length::Bytes(bytes) };
    let advise =
        |kernel: &mut Kernel<'_>, advice| edit(kernel, process, libc::SYS_madvise, &whole, advice);
    match driver {
        Driver::CoreDump => return core_dump(kernel, process, (start, bytes)),
        Driver::Udmabuf => return Err(cannot("only fixtures ask for a dma-buf")),
        Driver::KvmGuest => return Err(cannot("only fixtures have a guest of KVM")),
        Driver::Uprobe => return breakpoints(kernel, process, (start, bytes)),
        Driver::PopulateRead => return advise(kernel, 22),
        Driver::PopulateWrite => return advise(kernel, 23),
        Driver::Mlock => return edit(kernel, process, libc::SYS_mlock, &whole, 0),
        Driver::MlockOnfault => return edit(kernel, process, libc::SYS_mlock2, &whole, 1),
        _ => {}
    }
    let count_of_pages = bytes / PAGE;
    if start % PAGE != 0 || bytes % PAGE != 0 || !(1..=65536).contains(&count_of_pages) {
        return Err(cannot("this driver takes whole pages, 1 to 65536 of them"));
    }
    let at_most = match driver {
        Driver::Mempolicy | Driver::FutexWake | Driver::Peek | Driver::Poke => 64,
        Driver::DirectRead | Driver::DirectWrite => orders::DIRECT_PAGES,
        _ => ROOM as u64 / PAGE,
    };
    if count_of_pages > at_most {
        return Err(cannot(format!("{} takes at most {at_most} pages here", driver.name())));
    }
    match driver.caller() {
        Caller::Subject => own(kernel, process, driver, (start, bytes)),
        Caller::Other => foreign(kernel, process, driver, (start, bytes)),
    }
}

/// Drivers that the process itself uses.
fn own(
    kernel: &mut Kernel<'_>,
    process: &str,
    driver: Driver,
    (start, bytes): (u64, u64),
) -> Result<Value, Value> {
    let mut per_page = |order| {
        let reply = kernel.order(process, order, &[start, bytes / PAGE])?;
        let last = (reply.errno != 0).then(|| Errno::from_raw(reply.errno));
        Ok(Value::PerPage { mask: reply.mask, last })
    };
    let order = match driver {
        Driver::Mempolicy => return per_page(orders::MEMPOLICY),
        Driver::FutexWake => return per_page(orders::FUTEX),
        Driver::Vmsplice => orders::VMSPLICE,
        Driver::DirectRead => orders::DIRECT_READ,
        Driver::DirectWrite => orders::DIRECT_WRITE,
        Driver::RingBuffer => orders::RING_BUFFER,
        Driver::RingPbuf => orders::RING_PBUF,
        Driver::XdpUmem => orders::UMEM,
        Driver::SelfMemRead => orders::SELF_READ,
        Driver::SelfMemWrite => orders::SELF_WRITE,
        Driver::Cmdline => orders::CMDLINE,
        other => return Err(cannot(format!("{} is put by another process", other.name()))),
    };
    let result = kernel.order(process, order, &[start, bytes])?.result();
    let keeps = matches!(driver, Driver::RingBuffer | Driver::RingPbuf | Driver::XdpUmem);
    Ok(if keeps { done(result) } else { count(result) })
}

/// A child of the process's dumps its core; the controller reads it.
fn core_dump(
    kernel: &mut Kernel<'_>,
    process: &str,
    (start, bytes): (u64, u64),
) -> Result<Value, Value> {
    let folder = core::Folder::new().map_err(cannot)?;
    let path = folder.path();
    let slot = kernel.subject(process)?.slot;
    put(kernel, slot, path.as_bytes_with_nul());
    let reply = kernel.order(process, orders::DUMP, &[])?;
    if let Err(errno) = reply.result() {
        let errno = rustix::io::Errno::from_raw_os_error(errno.raw());
        return Err(cannot(core::no_dump(errno)));
    }
    folder.read(Range { start, bytes }).map(each_page).map_err(cannot)
}

/// Breakpoints on each page, which stay as long as the process.
fn breakpoints(
    kernel: &mut Kernel<'_>,
    process: &str,
    (start, bytes): (u64, u64),
) -> Result<Value, Value> {
    let unknown = || cannot(format!("there is no process {process}"));
    let subject = kernel.processes.get_mut(process).ok_or_else(unknown)?;
    let (asked, events) = uprobe::set(subject.pid.cast_unsigned(), Range { start, bytes });
    subject.events.extend(events);
    match asked {
        Asked::Answer(answer) => Ok(each_page(answer)),
        Asked::Cannot(why) => Err(cannot(why)),
    }
}

/// What a driver that asks page by page answered.
fn each_page(answer: Answer) -> Value {
    let last = (answer.errno != 0).then(|| Errno::from_raw(answer.errno));
    Value::PerPage { mask: answer.mask, last }
}

/// Drivers that the controller uses.
fn foreign(
    kernel: &mut Kernel<'_>,
    process: &str,
    driver: Driver,
    range: (u64, u64),
) -> Result<Value, Value> {
    let (reach, write) = match driver {
        Driver::VmRead => (Reach::ProcessVm, false),
        Driver::VmWrite => (Reach::ProcessVm, true),
        Driver::MemRead => (Reach::Ptrace, false),
        Driver::MemWrite => (Reach::Ptrace, true),
        _ => {
            let pid = kernel.subject(process)?.pid;
            let words = (range.0, range.1 / PAGE);
            let asked = kernel.lab.desk.words(pid, words, driver == Driver::Poke);
            let (value, faults) = asked.map_err(Value::CannotPlay)?;
            kernel.faults = Some(faults);
            return Ok(value);
        }
    };
    let noise = write.then(|| kernel.lab.desk.noise(range.1));
    remote(kernel, process, reach, range, noise).map(count)
}

/// Bytes moved by the controller.
pub(super) fn remote(
    kernel: &mut Kernel<'_>,
    process: &str,
    reach: Reach,
    range: (u64, u64),
    write: Option<u64>,
) -> Result<Result<i64, Errno>, Value> {
    if range.1 > ROOM as u64 {
        return Err(cannot("at most 2M are moved at once here"));
    }
    let lab = &mut *kernel.lab;
    let unknown = || cannot(format!("there is no process {process}"));
    let subject = kernel.processes.get_mut(process).ok_or_else(unknown)?;
    let (result, faults) = match reach {
        Reach::ProcessVm => lab.desk.vm(subject.pid, range, write),
        Reach::Ptrace => {
            let mem = match subject.mem.take() {
                Some(mem) => mem,
                None => open_mem(subject.pid)
                    .map_err(|errno| cannot(format!("/proc/PID/mem: {errno}")))?,
            };
            let moved = lab.desk.mem(&mem, range, write);
            subject.mem = Some(mem);
            moved
        }
    };
    kernel.faults = Some(faults);
    Ok(result)
}
