//! System calls that get or pin pages, as orders to a subject or calls of the controller.

use super::acts::edit;
use super::kernel::{Kernel, cannot, count, done};
use super::remote::{ROOM, open_mem};
use super::subject as orders;
use crate::ask::driver::{Caller, Driver};
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
