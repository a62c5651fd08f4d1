//! The arguments, as clap reads them. Numbers and names are understood by the crates that use them.

use crate::answers::AnswerArgs;
use clap::{Args as ClapArgs, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

/// What a pin would do on a live process, page by page, and why it fails.
#[derive(Debug, Parser)]
#[command(name = "gup", version = VERSION, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The version, and the kernels whose rules are known (`gup::linux::Linux`).
const VERSION: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (exact for Linux 6.18; rules known 4.4 … 6.18)");

const EXAMPLES: &str = "\
Examples:
  gup demo                                                    to begin with; needs no root
  gup explain --pid 4321 heap 16p --as io-uring-buffer        why would this pin fail?
  gup explain -- ./server                                     where the address is not known
  gup rule --search 'ibv_reg_mr failed: Bad address'          an error that was seen

Exit status: 0 it answered; 1 the answer is no (explain --check, demo, conform); 2 bad usage;
3 it could not look; 130 interrupted, with what was found so far.";

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start processes with every kind of memory, explain each, ask the kernel, print both side by
    /// side
    Demo(DemoArgs),
    /// Say what a pin of one range of a live process would do, page by page, and why it would fail
    Explain(ExplainArgs),
    /// Measure the engine beside the running kernel and the physical floor, in one run, as ratios
    Bench(BenchArgs),
    /// Play scenarios in the engine and in the running kernel, or recorded answers, and compare
    Conform(ConformArgs),
    /// Show the address space of a live process as a picture: on the terminal, as SVG, or as HTML
    Map(MapArgs),
    /// Say what one rule means, in which kernels it holds, and what to do about it
    Rule(RuleArgs),
    /// Write what a verdict rests on into a file, to be explained elsewhere; no page contents
    Collect(CollectArgs),
    /// Play scenario files in the engine, step by step, and print what each step did
    Run(RunArgs),
    /// Print what a shell loads to complete the words of this command
    Completions(CompletionsArgs),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// Arguments of `gup bench`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup bench                     a minute or two, in about 3 GiB of memory
  gup bench --rows pin-fast-4k  the rows whose names begin so
  gup bench --quick --json      a few rounds, as one JSON object")]
pub(crate) struct BenchArgs {
    /// A few rounds only: to see that it works
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these rows, by name or by the beginning of it up to a hyphen
    #[arg(long, value_name = "NAME", value_delimiter = ',', num_args = 1..)]
    pub(crate) rows: Vec<String>,
    /// Print one JSON object (docs/json.md)
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print a table of Markdown, and what the sides of each row are
    #[arg(long)]
    pub(crate) markdown: bool,
}

/// Arguments of `gup conform`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup conform scenarios/cow-after-fork.gup      play a scenario in the engine and in this kernel
  gup conform --seed 1 --programs 1000 --ops 100        random programs, in the running kernel too
  gup conform --minutes 2                               with a fresh seed, which it prints
  gup conform --vectors vectors/linux-6.18/vectors.jsonl --kernel
  gup conform --replay vectors/linux-6.18/public-240x60.jsonl.gz
  gup conform --record mine.jsonl.gz --seed 7 --programs 100
  gup conform --record rows.jsonl --rows
  gup conform --replay mine.jsonl.gz --json

Asking the kernel: as root it also sees the state of every page; --setup lets it make swap on zram,
fill the hugetlb pool or set when huge pages are made, all put back at the end.
The files: vectors/linux-6.18/kernel-rows.md. Exit status: 0 no difference; 1 a difference;
2 a line with a mistake; 3 unreadable file, or a kernel that cannot be asked.")]
#[allow(clippy::struct_excessive_bools, reason = "one for each option")]
pub(crate) struct ConformArgs {
    /// Scenario files, played in the engine and in the running kernel
    #[arg(value_name = "FILE", conflicts_with_all = ["replay", "record"])]
    pub(crate) files: Vec<PathBuf>,
    /// Recorded programs or rows, one JSON object a line, plain or .gz, played in the engine alone
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Option<PathBuf>,
    /// Write what the running kernel answers to random programs of the replayed kind
    #[arg(long, value_name = "OUT", conflicts_with = "replay")]
    pub(crate) record: Option<PathBuf>,
    /// Record the kinds of memory through every driver instead of programs
    #[arg(long, requires = "record", conflicts_with_all = ["seed", "programs", "ops"])]
    pub(crate) rows: bool,
    /// Play random programs, the first one from this seed, in the engine and in the running kernel
    #[arg(long, value_name = "S", conflicts_with_all = ["replay", "vectors"])]
    pub(crate) seed: Option<u64>,
    /// How many random programs [default: 240 recorded; 100 played, or what there is time for]
    #[arg(long, value_name = "N", conflicts_with_all = ["replay", "vectors"])]
    pub(crate) programs: Option<u64>,
    /// How many operations each of them has [default: 60 recorded, 100 played]
    #[arg(long, value_name = "M")]
    pub(crate) ops: Option<u64>,
    /// Change settings of this machine where a program needs it (root), and put them back
    #[arg(long)]
    pub(crate) setup: bool,
    /// Stop after this time
    #[arg(long, value_name = "T", conflicts_with_all = ["replay", "vectors", "record"])]
    pub(crate) minutes: Option<f64>,
    /// Which operations are drawn: usual, huge (on huge pages), or slow (merging by KSM too)
    #[arg(long, value_name = "SET", value_parser = ["usual", "huge", "slow"])]
    pub(crate) set: Option<String>,
    /// Write what was asked, agreed and could not be asked to this file, as Markdown
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Play errno and partial-result vectors (vectors/README.md)
    #[arg(long, value_name = "FILE", conflicts_with = "replay")]
    pub(crate) vectors: Option<PathBuf>,
    /// Put the vectors to the running kernel instead of the engine
    #[arg(long, requires = "vectors")]
    pub(crate) kernel: bool,
    /// Compare also the counts and the page-table entry of every page, which the kernel shows only
    /// through BPF (root; built with --features bpf)
    #[arg(long, conflicts_with_all = ["replay", "vectors", "record"])]
    pub(crate) counts: bool,
    /// Play everything, also after a difference
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// End with one JSON object on a line of its own (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `gup map`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup map --pid 4321                                what is mapped, and what its pages are
  gup map --pid 4321 --as io-uring-buffer           and what a pin of each page would meet
  gup map --pid 4321 --as rdma --html map.html      one file to open in a browser
  gup map --demo --as vfio --svg map.svg            of a process made for this
  gup map --pid 4321 --as vfio --kernel 5.15        what another kernel would refuse
  gup map --pid 4321 --json                         as data (docs/json.md)

On a terminal: arrows move, + and - zoom, / searches, r jumps to what would be refused, ? helps,
q quits. Into a pipe, with --plain, or with TERM=dumb it prints one picture of letters.
Each page is asked about alone; limits on how much may be locked are left to gup explain.
It reads /proc only: it never touches the process's pages.")]
#[allow(clippy::struct_excessive_bools, reason = "one for each option")]
pub(crate) struct MapArgs {
    /// The process
    #[arg(
        long,
        value_name = "PID",
        value_parser = clap::value_parser!(u32).range(1..),
        required_unless_present = "demo",
        conflicts_with = "demo"
    )]
    pub(crate) pid: Option<u32>,
    /// A process of its own, with many kinds of memory
    #[arg(long)]
    pub(crate) demo: bool,
    /// Who pins (as with gup explain): colours say what each page would meet
    #[arg(long = "as", value_name = "CONSUMER", conflicts_with = "foll")]
    pub(crate) consumer: Option<String>,
    /// A raw set of FOLL flags instead of a consumer
    #[arg(long, value_name = "FLAGS")]
    pub(crate) foll: Option<String>,
    /// Verdicts of another kernel, such as 5.15
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,
    /// What colours stand for [default: verdict if somebody pins, else state]
    #[arg(long, value_name = "WHAT", value_parser = ["state", "verdict"])]
    pub(crate) by: Option<String>,
    /// Write an SVG picture to this file (- for standard output)
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) svg: Option<PathBuf>,
    /// Write one self-contained HTML page to this file (- for standard output)
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    pub(crate) html: Option<PathBuf>,
    /// Print one JSON object (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Print one picture of letters, also on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
}

/// Arguments of `gup rule`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup rule C-32                 one rule
  gup rule --errno EFAULT       every rule that refuses with EFAULT
  gup rule --search 'dirty'     every rule whose text has the word
  gup rule --search 'ibv_reg_mr failed: Bad address'    what may stand behind an error
  gup rule                      every rule")]
pub(crate) struct RuleArgs {
    /// The id of a rule, such as C-32 or A-31
    #[arg(conflicts_with_all = ["errno", "search"])]
    pub(crate) id: Option<String>,
    /// List the rules that refuse with this errno
    #[arg(long, value_name = "ERRNO")]
    pub(crate) errno: Option<String>,
    /// List what leads to an error's text as somebody prints it, and the rules whose text has it
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Print one JSON object (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the pages of docs/rules into this folder
    #[arg(long, value_name = "FOLDER", hide = true, exclusive = true)]
    pub(crate) pages: Option<PathBuf>,
}

const EXPLAIN_USAGE: &str = "\
gup explain [OPTIONS] --pid <PID> <ADDR> <LEN> --as <CONSUMER>
       gup explain [OPTIONS] --bundle <FILE> <ADDR> <LEN> --as <CONSUMER>
       gup explain [OPTIONS] -- <CMD> [ARGS]...";

/// Arguments of `gup explain`.
#[derive(Debug, ClapArgs)]
#[command(override_usage = EXPLAIN_USAGE, after_help = "\
Consumers (--as): process_vm_readv, process_vm_writev, proc-mem-read, proc-mem-write,
ptrace-peek, ptrace-poke, madvise-populate-read, madvise-populate-write, mlock, mlock-onfault,
vmsplice, get-mempolicy, futex, o-direct-write, o-direct-read, io-uring-buffer, io-uring-pbuf,
xdp-umem, proc-cmdline, uprobe; read from source: rdma, rdma-readonly, vfio, kvm, coredump

Examples:
  gup explain --pid 4321 0x7f12a4c00000 64K --as io-uring-buffer
  gup explain --pid 4321 heap 16p --as process_vm_readv
  gup explain --pid 4321 libc.so.6 4096 --foll 'WRITE|PIN|LONGTERM' --json
  gup explain --pid 4321 stack 4096 --as proc-mem-write --check && echo would work
  gup explain --pid 4321 /var/lib/db/seg.0 1M --as rdma --kernel 5.15
  gup explain --bundle gup-4321.jsonl.gz heap 16p --as rdma     on another machine (gup collect)
  gup explain -- ./server --port 80             where the address is not known: run it
  gup explain -f -o why.txt -- make test        its children too, told in a file
  gup explain --json -- fio job.fio 2>why.jsonl

With a process it reads /proc only: it never touches the process's pages.
With a command, each call of its that pins and fails is stopped at its return and explained on
standard error (docs/follow.md). The exit status is the command's; 128 and the signal's number if
one ended it; 127 if there is no such command, 126 if it cannot be executed.")]
pub(crate) struct ExplainArgs {
    /// The process
    #[arg(
        long,
        value_name = "PID",
        value_parser = clap::value_parser!(u32).range(1..),
        required_unless_present_any = ["bundle", "command"]
    )]
    pub(crate) pid: Option<u32>,
    /// A process that `gup collect` wrote to this file, instead of a live one
    #[arg(long, value_name = "FILE", conflicts_with = "pid")]
    pub(crate) bundle: Option<PathBuf>,
    /// First byte: hexadecimal, or heap, stack, or the name of a mapping
    #[arg(allow_hyphen_values = true, required_unless_present = "command")]
    pub(crate) addr: Option<String>,
    /// Length: 4096, 64K, 2M, 1G, or 16p for pages
    #[arg(allow_hyphen_values = true, required_unless_present = "command")]
    pub(crate) len: Option<String>,
    /// Who pins
    #[arg(
        long = "as",
        value_name = "CONSUMER",
        required_unless_present_any = ["foll", "command"],
        conflicts_with = "foll"
    )]
    pub(crate) consumer: Option<String>,
    /// A raw set of FOLL flags instead of a consumer
    #[arg(long, value_name = "FLAGS")]
    pub(crate) foll: Option<String>,
    /// Answer for another kernel, such as 5.15, and say which rules changed in between
    #[arg(long, value_name = "VERSION")]
    pub(crate) kernel: Option<String>,
    /// Print one JSON object (docs/json.md)
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with 1 if the call would not do all that is asked
    #[arg(long)]
    pub(crate) check: bool,
    /// A further range that the same call registers, for --memlock
    #[arg(long, num_args = 2, value_names = ["ADDR", "LEN"], allow_hyphen_values = true)]
    pub(crate) also: Vec<String>,
    /// What else is asked.
    #[command(flatten)]
    pub(crate) answers: AnswerArgs,
    /// A command to run instead.
    #[command(flatten)]
    pub(crate) follow: FollowArgs,
}

/// Arguments of `gup explain -- CMD`.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Running a command")]
pub(crate) struct FollowArgs {
    /// A command to run, whose failing calls are explained
    #[arg(
        last = true,
        value_name = "CMD",
        conflicts_with_all = ["pid", "bundle", "addr", "len", "consumer", "foll", "check", "kernel"]
    )]
    pub(crate) command: Vec<OsString>,
    /// Explain the calls of the processes that it starts, too
    #[arg(short, long = "follow", requires = "command")]
    pub(crate) follow: bool,
    /// Write to this file instead of standard error
    #[arg(short, long, value_name = "FILE", requires = "command")]
    pub(crate) output: Option<PathBuf>,
    /// Leave direct reads and writes (`O_DIRECT`) alone: in a process that opens a file so,
    /// every call is stopped
    #[arg(long, requires = "command")]
    pub(crate) no_direct_io: bool,
}

/// Arguments of `gup collect`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup collect --pid 4321                        gup-4321.jsonl.gz, with every page
  gup collect --pid 4321 heap 1G -o heap.jsonl  with the pages of one range
  gup explain --bundle gup-4321.jsonl.gz heap 16p --as io-uring-buffer

The file has the areas with their names, the state of each page, limits and the kernel's version
(docs/bundle.md). It never has the contents of a page. Root also gets frame numbers and flags.")]
pub(crate) struct CollectArgs {
    /// The process
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) pid: u32,
    /// Only the pages of one range: its first byte, as for `gup explain`
    #[arg(allow_hyphen_values = true, requires = "len")]
    pub(crate) addr: Option<String>,
    /// The length of that range
    #[arg(allow_hyphen_values = true)]
    pub(crate) len: Option<String>,
    /// The file; compressed if its name ends in .gz [default: gup-PID.jsonl.gz]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// Arguments of `gup completions`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup completions bash > /etc/bash_completion.d/gup
  gup completions zsh > \"${fpath[1]}/_gup\"
  gup completions fish > ~/.config/fish/completions/gup.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `gup man`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup man target/man && man target/man/gup.1")]
pub(crate) struct ManArgs {
    /// The folder
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: PathBuf,
}

/// Arguments of `gup demo`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup demo             every kind of memory that this machine can make: a minute or less
  gup demo hugetlb     the kinds whose name has this word

Needs no root; with it, what only root may see is compared too. Exit status: 0 if explanation and
kernel agree everywhere, 1 if not.")]
pub(crate) struct DemoArgs {
    /// Only the kinds whose name contains this
    #[arg(value_name = "KIND")]
    pub(crate) kind: Option<String>,
}

/// Arguments of `gup run`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  gup run scenarios/first-touch.gup            what each step did
  gup run --trace scenarios/first-touch.gup    every decision, with its rule
  gup run --step scenarios/dirty-cow-v4.4.gup  one step at a time

Exit status: 0 all came as expected; 1 it did not; 2 a scenario with a mistake; 3 unreadable file.
The language: scenarios/README.md")]
pub(crate) struct RunArgs {
    /// Scenario files
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print every decision, with the rule that made it
    #[arg(long)]
    pub(crate) trace: bool,
    /// Wait for Enter after each step
    #[arg(long)]
    pub(crate) step: bool,
}
