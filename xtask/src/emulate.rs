//! `cargo xtask emulate`: programs without an operating system, on emulated processors.
//!
//! `aarch64`, `riscv64` and `x86_64`: the processor walks the engine's page tables (`guests/walk`).
//! `cortex-m`: a driver on a microcontroller without an MMU (`guests/microcontroller`). Each is
//! built with the second toolchain and run by QEMU, whose status is the program's. What is not
//! installed is named, and its programs are skipped. Absent: any of it in the tests or in CI; it
//! takes a minute or two each.

use crate::{bare_metal, repo};
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A program that is still running then hangs.
const TIME_MAX: Duration = Duration::from_mins(15);

/// A program, and the machine that it runs on.
struct Guest {
    name: &'static str,
    package: &'static str,
    target: &'static str,
    linker_script: &'static str,
    emulator: &'static str,
    /// The machine.
    arguments: &'static [&'static str],
    /// How the program prints, and ends.
    output: &'static [&'static str],
    /// Where the emulator comes from.
    debian: &'static str,
}

const SEMIHOSTING: &[&str] = &["-nographic", "-semihosting"];
const DEBUG_CONSOLE: &[&str] =
    &["-display", "none", "-debugcon", "stdio", "-device", "isa-debug-exit,iobase=0xf4,iosize=4"];

const X86_64: Guest = Guest {
    name: "x86_64",
    package: "walk",
    target: "x86_64-unknown-none",
    linker_script: "guests/walk/x86_64.ld",
    emulator: "qemu-system-x86_64",
    arguments: &["-M", "pc,accel=tcg", "-cpu", "max", "-m", "512M"],
    output: DEBUG_CONSOLE,
    debian: "qemu-system-x86",
};

const GUESTS: [Guest; 5] = [
    X86_64,
    Guest { arguments: &["-M", "pc,accel=tcg", "-cpu", "max,la57=off", "-m", "512M"], ..X86_64 },
    Guest {
        name: "aarch64",
        package: "walk",
        target: "aarch64-unknown-none",
        linker_script: "guests/walk/aarch64.ld",
        emulator: "qemu-system-aarch64",
        arguments: &["-M", "virt,virtualization=on", "-cpu", "max", "-m", "512M"],
        output: SEMIHOSTING,
        debian: "qemu-system-arm",
    },
    Guest {
        name: "riscv64",
        package: "walk",
        target: "riscv64gc-unknown-none-elf",
        linker_script: "guests/walk/riscv64.ld",
        emulator: "qemu-system-riscv64",
        arguments: &["-M", "virt", "-cpu", "rv64,svnapot=true", "-m", "512M", "-bios", "none"],
        output: SEMIHOSTING,
        debian: "qemu-system-misc",
    },
    Guest {
        name: "cortex-m",
        package: "microcontroller",
        target: "thumbv7m-none-eabi",
        linker_script: "guests/microcontroller/thumbv7m.ld",
        emulator: "qemu-system-arm",
        arguments: &["-M", "mps2-an385"],
        output: SEMIHOSTING,
        debian: "qemu-system-arm",
    },
];

/// The verb: every program, or those named.
///
/// # Errors
/// A program does not build, or says that something is not as it should be.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(other) = arguments.iter().find(|name| GUESTS.iter().all(|g| g.name != **name)) {
        bail!("emulate takes x86_64, aarch64, riscv64, cortex-m, not {other}");
    }
    let wanted = |guest: &&Guest| arguments.is_empty() || arguments.iter().any(|n| n == guest.name);
    for guest in GUESTS.iter().filter(wanted) {
        match guest.cannot_run() {
            Some(reason) => println!("emulate: {} skipped: {reason}", guest.name),
            None => guest.run()?,
        }
    }
    Ok(())
}

impl Guest {
    fn cannot_run(&self) -> Option<String> {
        if let Some(missing) = bare_metal::missing() {
            return Some(format!("no {missing} here ({})", bare_metal::PACKAGES));
        }
        if let Err(error) = bare_metal::linker() {
            return Some(error.to_string());
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).any(|at| at.join(self.emulator).exists());
        (!found).then(|| format!("no {} here (Debian: {})", self.emulator, self.debian))
    }

    fn run(&self) -> Result<()> {
        let Self { name, target, package, .. } = self;
        println!("emulate: {name}, {package} for {target}");
        self.build()?;
        let program = repo::target().join("bare-metal").join(target).join("release").join(package);
        let began = Instant::now();
        self.emulate(&program)?;
        println!("emulate: {name} passed in {} s", began.elapsed().as_secs());
        Ok(())
    }

    fn build(&self) -> Result<()> {
        let script = repo::root().join(self.linker_script);
        let flags =
            [format!("-Clink-arg=-T{}", script.display()), "-Crelocation-model=static".into()];
        let variable = self.target.to_uppercase().replace('-', "_");
        let status = bare_metal::build(self.target)
            .args(["--release", "--manifest-path", "guests/Cargo.toml", "-p", self.package])
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
            .env(format!("CARGO_TARGET_{variable}_LINKER"), bare_metal::linker()?)
            .status()
            .context("cannot start the second cargo")?;
        ensure!(status.success(), "{} does not build for {}", self.package, self.target);
        Ok(())
    }

    fn emulate(&self, program: &Path) -> Result<()> {
        let mut emulator = Command::new(self.emulator)
            .args(self.arguments)
            .args(self.output)
            .args(["-nic", "none", "-kernel"])
            .arg(program)
            .stdin(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.emulator))?;
        let began = Instant::now();
        loop {
            if let Some(status) = emulator.try_wait()? {
                ensure!(status.success(), "{}: {status}", self.name);
                return Ok(());
            }
            if began.elapsed() > TIME_MAX {
                emulator.kill()?;
                emulator.wait()?;
                bail!("{}: not done after {} s", self.name, TIME_MAX.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
