//! Semihosting: a trap that the emulator takes as a call, with an operation and one argument.
//!
//! x86-64 has none: QEMU's debug console takes bytes at a port, its power switch is at another, and
//! a device for tests ends it with a status. Source: Arm, *Semihosting for AArch32 and AArch64*;
//! RISC-V, *Semihosting* (the same calls behind another trap); QEMU, `isa-debugcon`,
//! `isa-debug-exit`, ACPI's power management of the machine `pc`.

use alloc::vec::Vec;
use core::arch::asm;
use core::fmt;

const WRITE0: usize = 0x04;
const EXIT: usize = 0x18;
/// The program ended by itself (`ADP_Stopped_ApplicationExit`).
const ENDED: usize = 0x2_0026;
/// It could not go on (`ADP_Stopped_InternalError`), where there is no place for a status.
#[cfg(target_pointer_width = "32")]
const BROKEN: usize = 0x2_0024;

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Passed,
    /// Otherwise.
    Failed,
}

/// What is written here appears where the emulator was started.
#[derive(Clone, Copy, Debug)]
pub struct Console;

impl fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut bytes: Vec<u8> = text.bytes().filter(|&byte| byte != 0).collect();
        bytes.push(0);
        // SAFETY: WRITE0 reads bytes up to the first zero, which `bytes`, alive until the end of
        // this function, has at its end; it changes nothing.
        unsafe { call(WRITE0, bytes.as_ptr().expose_provenance()) };
        Ok(())
    }
}

/// Ends the program, and the emulator with status 0 or 1.
pub fn exit(status: Status) -> ! {
    #[cfg(target_pointer_width = "64")]
    let block = [ENDED, usize::from(status == Status::Failed)];
    #[cfg(target_pointer_width = "64")]
    let argument = block.as_ptr().expose_provenance();
    #[cfg(target_pointer_width = "32")]
    let argument = if status == Status::Passed { ENDED } else { BROKEN };
    loop {
        // SAFETY: EXIT reads the two words of `block`, or nothing, and does not come back.
        unsafe { call(EXIT, argument) };
    }
}

/// Asks the emulator for `operation`.
///
/// # Safety
/// `argument` is what the operation takes; if that is an address, what the operation reads there is
/// there, and what it writes nobody else uses.
unsafe fn call(operation: usize, argument: usize) {
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the trap leaves all registers but x0, the result, as they are; memory is the caller's
    // duty.
    unsafe {
        asm!("hlt #0xf000", inout("x0") operation => _, in("x1") argument, options(nostack));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the three instructions, which must not be compressed nor lie in two pages, are the
    // trap; it leaves all registers but a0, the result, as they are; memory is the caller's duty.
    unsafe {
        asm!(
            ".option push",
            ".option norvc",
            ".balign 16",
            "slli x0, x0, 0x1f",
            "ebreak",
            "srai x0, x0, 7",
            ".option pop",
            inout("a0") operation => _,
            in("a1") argument,
            options(nostack)
        );
    }
    #[cfg(target_arch = "arm")]
    // SAFETY: the trap leaves all registers but r0, the result, as they are; memory is the caller's
    // duty.
    unsafe {
        asm!("bkpt #0xab", inout("r0") operation => _, in("r1") argument, options(nostack));
    }
    #[cfg(target_arch = "x86_64")]
    match operation {
        WRITE0 => {
            let mut at = core::ptr::with_exposed_provenance::<u8>(argument);
            loop {
                // SAFETY: the bytes up to the first zero are there (the caller's duty).
                let byte = unsafe { at.read() };
                if byte == 0 {
                    break;
                }
                // SAFETY: a port of the emulator's, which changes nothing in memory.
                unsafe { asm!("out 0xe9, al", in("al") byte, options(nomem, nostack)) };
                at = at.wrapping_add(1);
            }
        }
        // SAFETY: ports of the emulator's, which ends by it; two words are there (the caller's
        // duty).
        _ => unsafe {
            asm!(
                "cmp qword ptr [{block} + 8], 0", "jne 3f",
                "mov dx, 0x604", "mov ax, 0x2000", "out dx, ax", "2:", "hlt", "jmp 2b",
                "3:", "out 0xf4, al", "jmp 2b",
                block = in(reg) argument, out("ax") _, out("dx") _, options(nostack),
            );
        },
    }
    #[cfg(not(any(
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "arm",
        target_arch = "x86_64"
    )))]
    {
        let _ = (operation, argument);
        compile_error!("no semihosting trap is known for this processor");
    }
}
