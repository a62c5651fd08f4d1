//! The kernel's own counts and page-table entries, read through BPF, are the engine's: of a page
//! that is pinned and given back, in the scenarios, and in random programs.
//!
//! Without the test harness, since the program is also the keeper. Without root, BPF or a kernel
//! 6.18 it says why it cannot ask. `GUP_LIVE_PROGRAMS` sets how many programs are played; those of
//! a new seed are `gup conform --counts`'s.

use gup_conformance::bpf::Sight;
use gup_conformance::live::{Changes, KEEPER_ARGUMENT, Kernel, Lab, Watch, serve_keeper};
use gup_conformance::random::{Live, Means, Plan, Set, run};
use gup_conformance::scenario::parse;
use gup_conformance::sys::{ARENA, PAGE, map, memlock, store};
use gup_conformance::world::{Engine, Pair, Verdict};
use io_uring::IoUring;
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().collect();
    if words.get(1).is_some_and(|word| word == KEEPER_ARGUMENT) {
        return ExitCode::from(u8::try_from(serve_keeper(&words[2..])).unwrap_or(1));
    }
    let asked = a_pin_is_counted_1024_times()
        .map(|()| killed_readers_leave_no_program_behind())
        .and_then(|()| in_programs());
    if let Err(why) = asked {
        let _ = writeln!(std::io::stderr(), "cannot ask: {why}");
    }
    ExitCode::SUCCESS
}

/// The frame that the page at `addr` of this process is in.
fn frame_of(addr: u64) -> u64 {
    let mut word = [0; 8];
    let pagemap = std::fs::File::open("/proc/self/pagemap").expect("our own");
    pagemap.read_exact_at(&mut word, addr / PAGE * 8).expect("an entry");
    u64::from_ne_bytes(word) & ((1 << 55) - 1)
}

/// A fixed buffer of one page adds 1024 references to it, and they go with it.
fn a_pin_is_counted_1024_times() -> Result<(), String> {
    let sight = Sight::open()?;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    map(ARENA.start, PAGE, libc::PROT_READ | libc::PROT_WRITE, flags, -1).expect("a page");
    store(ARENA.start, 1).expect("it may be stored to");
    let counts = || sight.counts(&[frame_of(ARENA.start)]).expect("it can be seen")[0];
    let before = counts();
    assert_eq!((before.mapcount, before.of_folio, before.pins), (1, 1, None), "{before}");
    let ring = IoUring::new(2).map_err(|error| format!("io_uring: {error}"))?;
    let iov_base = std::ptr::with_exposed_provenance_mut(ARENA.start as usize);
    let buffer = libc::iovec { iov_base, iov_len: PAGE as usize };
    // SAFETY: the page stays mapped until this process ends.
    let registered = unsafe { ring.submitter().register_buffers(&[buffer]) };
    registered.map_err(|error| format!("io_uring: {error}"))?;
    // Whether the CPU's list of new pages still has a reference of its own may change meanwhile.
    let pinned = counts();
    assert!(pinned.refs - 1024 >= 1 && pinned.refs - 1024 <= before.refs, "{before}, {pinned}");
    ring.submitter().unregister_buffers().expect("it was registered");
    let after = counts();
    assert!(after.refs >= 1 && after.refs <= before.refs, "{before}, {after}");
    Ok(())
}

/// How many BPF programs the kernel has.
fn programs() -> usize {
    const PROG_GET_NEXT_ID: libc::c_int = 11;
    // The one before, the next one.
    let mut ids = [0_u32; 3];
    let next = |ids: &mut [u32; 3]| {
        // SAFETY: the attributes are these three words, and live until the end.
        let found = unsafe { libc::syscall(libc::SYS_bpf, PROG_GET_NEXT_ID, ids.as_mut_ptr(), 12) };
        (found == 0).then(|| ids[0] = ids[1])
    };
    std::iter::from_fn(|| next(&mut ids)).count()
}

/// The program is gone with the process that loaded it, however that ends.
fn killed_readers_leave_no_program_behind() {
    let before = programs();
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL, libc::SIGABRT] {
        // SAFETY: this process has one thread.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let _sight = Sight::open();
            // SAFETY: stops this process, which is killed then.
            unsafe { libc::raise(libc::SIGSTOP) };
        }
        // SAFETY: a child of this process; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), libc::WUNTRACED) };
        assert!(programs() > before, "it was loaded");
        for signal in [signal, libc::SIGCONT] {
            // SAFETY: a child of this process.
            unsafe { libc::kill(child, signal) };
        }
        // SAFETY: a child of this process; a null status is allowed.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        let gone = (0..200).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(20));
            programs() <= before
        });
        assert!(gone, "after signal {signal} no program is left");
    }
}

fn in_programs() -> Result<(), String> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !release.starts_with("6.18") {
        return Err(format!("the engine is exact for Linux 6.18, this is {}", release.trim()));
    }
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let watch = Watch { exact: true, ..Watch::default() };
    let mut lab = Lab::new(&program, Changes::NONE, watch)?;
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(kept.join("regressions"))
        .expect("the folder is in the repository")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "gup"))
        .chain(["every-driver.gup", "userfaultfd.gup"].map(|name| kept.join(name)))
        .collect();
    paths.sort();
    for path in &paths {
        scenario(&mut lab, path);
    }
    random(lab);
    Ok(())
}

fn scenario(lab: &mut Lab, path: &Path) {
    let program = parse(&std::fs::read_to_string(path).expect("a text")).expect("no mistake");
    let engine = Engine::new(&program.setup, memlock()).expect("a machine").exactly();
    let cannot = |why: &str| {
        let _ = writeln!(std::io::stderr(), "cannot ask: {}: {why}", path.display());
    };
    let kernel = match Kernel::new(lab, &program.setup) {
        Ok(kernel) => kernel,
        Err(why) => return cannot(&why),
    };
    let mut pair = Pair::new(engine, kernel);
    for step in &program.steps {
        match pair.play(step).verdict {
            Verdict::Same => {}
            Verdict::CannotAsk(why) => cannot(&format!("line {}: {why}", step.line)),
            Verdict::Differs(what) => panic!("{}: {}: {what}", path.display(), step.text),
        }
    }
}

fn random(lab: Lab) {
    let count = std::env::var("GUP_LIVE_PROGRAMS").ok().and_then(|n| n.parse().ok());
    let plan = Plan {
        seed: 1,
        programs: Some(count.unwrap_or(60)),
        ops: 100,
        time: None,
        set: Set::Usual,
        means: Means::probe().0,
        keep_going: false,
    };
    let totals = run(&plan, &mut Live::new(lab), |_| true);
    println!("{} operations of random programs: {} the same", totals.operations, totals.ok);
    assert!(totals.operations > 0, "{:?}", totals.reasons);
    assert_eq!(totals.differs, 0, "{:#?}", totals.first);
}
