//! Loads and stores that may fault: the signal is caught, and the access is over.
//!
//! x86-64 only: the handler goes on behind the instruction that faulted.

use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

/// Where to go on after a fault; 0 outside accesses.
static RESUME: AtomicU64 = AtomicU64::new(0);
/// The signal that came.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Installs the handler.
pub(crate) fn catch_faults() {
    // SAFETY: all zeroes is a valid action with an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_fault;
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    for signal in [libc::SIGSEGV, libc::SIGBUS] {
        // SAFETY: `action` is a whole action; the handler only writes atomics and the context.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    RESUME.store(0, Relaxed);
    SIGNAL.store(0, Relaxed);
}

extern "C" fn on_fault(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    let resume = RESUME.load(Relaxed);
    if resume == 0 {
        crate::sys::exit_now(70);
    }
    SIGNAL.store(signal, Relaxed);
    go_on(context, resume);
}

#[cfg(target_arch = "x86_64")]
fn go_on(context: *mut c_void, resume: u64) {
    let context: *mut libc::ucontext_t = context.cast();
    // SAFETY: the kernel passed the context of the interrupted instruction, which nobody else uses.
    let context = unsafe { &mut *context };
    context.uc_mcontext.gregs[libc::REG_RIP as usize] = resume.cast_signed();
}

#[cfg(not(target_arch = "x86_64"))]
fn go_on(_: *mut c_void, _: u64) {
    crate::sys::exit_now(71);
}

/// Loads the byte at `addr`.
/// # Errors
/// The signal that came instead.
pub(crate) fn load(addr: u64) -> Result<u8, i32> {
    let mut byte: u8 = 0;
    SIGNAL.store(0, Relaxed);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: one byte is loaded from an address that no Rust object has; a fault goes on at the
    // label, which is the end.
    unsafe {
        std::arch::asm!(
            "lea {t}, [rip + 2f]",
            "mov qword ptr [{r}], {t}",
            "mov {b}, byte ptr [{a}]",
            "2:",
            t = out(reg) _, r = in(reg) RESUME.as_ptr(), a = in(reg) addr,
            b = inout(reg_byte) byte, options(nostack),
        );
    }
    RESUME.store(0, Relaxed);
    end(std::mem::take(&mut byte))
}

/// Stores `byte` at `addr`.
/// # Errors
/// The signal that came instead.
pub(crate) fn store(addr: u64, byte: u8) -> Result<(), i32> {
    SIGNAL.store(0, Relaxed);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: one byte is stored to an address that no Rust object has, in the arena; a fault goes
    // on at the label, which is the end.
    unsafe {
        std::arch::asm!(
            "lea {t}, [rip + 2f]",
            "mov qword ptr [{r}], {t}",
            "mov byte ptr [{a}], {b}",
            "2:",
            t = out(reg) _, r = in(reg) RESUME.as_ptr(), a = in(reg) addr, b = in(reg_byte) byte,
            options(nostack),
        );
    }
    RESUME.store(0, Relaxed);
    end(())
}

fn end<T>(value: T) -> Result<T, i32> {
    match SIGNAL.load(Relaxed) {
        0 => Ok(value),
        signal => Err(signal),
    }
}
