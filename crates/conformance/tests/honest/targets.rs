//! Processes that change while they are looked at, and one that has much.

use gup_conformance::sys::{self, ARENA, PAGE};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// The argument that makes this program a target.
pub(crate) const ROLE: &str = "__target";

/// Where the targets have their memory.
pub(crate) const HERE: u64 = ARENA.start + 16 * PAGE;
/// How many pages the busy one maps and unmaps.
pub(crate) const PAGES: u64 = 3 << 11;
/// How many areas the large one has.
pub(crate) const AREAS: u64 = 65_000;
/// How much it reserves, in bytes.
pub(crate) const RESERVED: u64 = 1 << 40;

const RW: i32 = 3;
const PRIVATE_ANON: i32 = 0x22;

/// Runs as the target `what`.
pub(crate) fn serve(what: &str) -> ExitCode {
    sys::die_with_parent(std::os::unix::process::parent_id());
    match what {
        "ends" => {
            map();
            println!("ready");
            std::thread::sleep(Duration::from_millis(3));
        }
        "maps" => {
            println!("ready");
            for_a_while(|| {
                map();
                sys::unmap(HERE, PAGES * PAGE).expect("ours");
            });
        }
        "execs" => {
            map();
            if std::env::var_os("GUP_AGAIN").is_none() {
                println!("ready");
            }
            let again = std::env::current_exe().expect("a path");
            let _ = Command::new(again).args([ROLE, "execs"]).env("GUP_AGAIN", "1").exec();
        }
        "many" => return many(),
        _ => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

fn map() {
    sys::map(HERE, PAGES * PAGE, RW, PRIVATE_ANON, -1).expect("the arena is free");
}

fn for_a_while(mut step: impl FnMut()) {
    let began = Instant::now();
    while began.elapsed().as_secs() < 60 {
        step();
    }
}

/// Many areas, a huge reservation of which a little is used, and a wait.
fn many() -> ExitCode {
    for area in 0..AREAS {
        if sys::map(ARENA.start + 2 * area * PAGE, PAGE, RW, PRIVATE_ANON, -1).is_err() {
            println!("cannot {area} areas only: vm.max_map_count");
            return ExitCode::SUCCESS;
        }
    }
    let Some(at) = reserve() else {
        println!("cannot reserve 1 TiB");
        return ExitCode::SUCCESS;
    };
    println!("ready {at}");
    let _ = io::stdin().read(&mut [0]);
    ExitCode::SUCCESS
}

/// 1 TiB without access and without a promise of memory.
fn reserve() -> Option<u64> {
    use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
    let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
    // SAFETY: the kernel chooses the address of a new mapping, so that no memory of this program is
    // replaced; nothing is ever stored there.
    let at = unsafe {
        mmap_anonymous(std::ptr::null_mut(), RESERVED as usize, ProtFlags::empty(), flags)
    };
    Some(at.ok()? as u64)
}

/// A target that runs.
pub(crate) struct Target {
    child: Child,
    /// What it said when it was ready.
    pub(crate) said: String,
    _hear: BufReader<ChildStdout>,
}

impl Target {
    /// Starts the target `what`, and waits until it is ready.
    pub(crate) fn start(what: &str) -> Self {
        let program = std::env::current_exe().expect("a path");
        let mut child = Command::new(program)
            .args([ROLE, what])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut hear = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut said = String::new();
        hear.read_line(&mut said).expect("a line");
        io::stdout().flush().expect("our own output");
        Self { child, said: said.trim_end().to_owned(), _hear: hear }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
