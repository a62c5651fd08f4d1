//! Every scenario file plays as it says; every mistake is told with its place; nothing panics.

use gup_conformance::scenario::{Op, Program, parse, parse_bytes, play};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scenarios");
    let entries = fs::read_dir(folder).expect("the folder of scenarios");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "gup")).collect();
    files.sort();
    files
}

#[test]
fn every_scenario_in_the_folder_plays_as_it_says_and_leaves_nothing_behind() {
    let files = files();
    assert!(files.len() >= 9, "the stories are there: {files:?}");
    for file in files {
        let name = file.display();
        let program = parse_bytes(&fs::read(&file).expect("a file")).unwrap_or_else(|mistake| {
            panic!("{name}: {mistake}");
        });
        let played = play(&program).unwrap_or_else(|why| panic!("{name}: {why}"));
        for (step, report) in program.steps.iter().zip(&played.reports) {
            assert!(report.is_as_expected(), "{name}:{}: {:?}", step.line, report.unmet);
        }
        assert!(played.leaks.is_empty(), "{name}: {:?}", played.leaks);
    }
}

#[test]
fn the_same_scenario_does_the_same_twice() {
    for file in files() {
        let program = parse_bytes(&fs::read(&file).expect("a file")).expect("no mistake");
        assert_eq!(play(&program), play(&program), "{}", file.display());
    }
}

#[test]
fn every_operation_is_written_as_the_line_that_is_read() {
    const LINES: &str = "watch 0x200000000000 16 pages\nprocess P\nfile f 16 pages one-folio\n\
        file m 2 pages memfd filled \"a\\x00\\\"\"\nseal m 0x8\nP: vmsplice 0x1000 4 pages\n\
        P: iou_reg 0x1000 1 page\nP: iou_unreg\nP: load 0x1000 2 pages\nP: store 0x1001 3 bytes\n\
        P: a = sys_mmap 0x10000 0x1001 0x3 0x32 rofile f 0x1000\nP: sys_munmap a+5 0x0\n\
        P: sys_mprotect a 0x1000 0x1000001\nP: b = sys_mremap a 0x1 0x2 0xff a+1p\n\
        P: sys_madvise a 0x1000 -7\nP: sys_mlock2 a 0x1 0x3\nP: sys_munlock a 0x1\n\
        P: sys_mseal a 0x1 0x9\nP: sys_brk 0x5000\nP: uffd_open sigbus\n\
        P: uffd_register a 1 page 3\nP: uffd_copy a 1 page a+4p\nP: uffd_protect a 1 page\n\
        P: c = mmap 3 pages rw private rofile f from 2 at a+1p\nP: madvise a 1 page cold";
    let mut texts: Vec<String> =
        files().iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    texts.push(LINES.to_owned());
    for text in texts {
        let program = parse(&text).unwrap_or_else(|mistake| panic!("{mistake}"));
        let again = program.to_string();
        let read = parse(&again).unwrap_or_else(|mistake| panic!("{again}\n{mistake}"));
        assert_eq!(read.setup, program.setup);
        let ops = |program: &Program| -> Vec<Op> {
            program.steps.iter().map(|step| step.op.clone()).collect()
        };
        assert_eq!(ops(&read), ops(&program), "{again}");
    }
}

#[test]
fn a_mistake_is_told_with_line_column_and_what_was_expected() {
    let table = [
        ("process P\nP: a = mmap four pages rw private anon", 2, 13, "a length"),
        ("process P\nP: a = mmap 4 pages rw private", 2, 31, "what to map"),
        ("process P\nP: a = mmap 4 pages rw anon", 2, 28, "private or shared"),
        ("process P\nP: a = mmap 4 rw private anon", 2, 15, "`pages` or `bytes`"),
        ("process P\nP: a = mmap 4 pages rwz private anon", 2, 21, "permissions"),
        ("process P\nP: read a 4", 2, 9, "a mapping of P (none so far)"),
        ("Q: exit", 1, 1, "`process NAME`"),
        ("process P\nprocess P", 2, 9, "not in use"),
        ("process 4P", 1, 9, "a name for the process"),
        ("process P\nP: frok Q", 2, 4, "fork"),
        ("process P\nP: fork Q now", 2, 11, "the end of the line"),
        ("process P\nP: read 0x1000 4 -> EFUALT", 2, 21, "an errno such as EFAULT"),
        ("process P\nP: exit -> rule Z-99", 2, 17, "a rule's id"),
        ("process P\nP: write 0 \"open", 2, 17, "a closing quote"),
        ("process P\nP: write 0 \"\\q\"", 2, 14, "after a backslash"),
        ("process P\nlinux 4.4", 2, 1, "before the first one"),
        ("linux 5.10", 1, 7, "4.4, 6.18"),
        ("memory 1T", 1, 8, "a length"),
        ("memory 1K", 1, 8, "from 64K to 4G"),
        ("linux 4.4\nprocess P\nP: pin_user_pages 0 1 page", 3, 4, "__get_user_pages"),
        ("nommu\nprocess P\nP: fork Q", 3, 4, "what it does"),
        ("process P\nP: get_user_pages 0 9000000 pages", 2, 34, "no-pages"),
        ("process P\nP: get_user_pages 0 4 bytes", 2, 23, "a number of pages"),
        ("process P\nP: get_user_pages 0 1 page SPEEDY", 2, 28, "a flag"),
        ("process P\nP: get_user_pages 0 1 page locked", 2, 28, "a flag of get_user_pages"),
        ("linux 4.4\nprocess P\nP: get_user_pages 0 1 page GET", 3, 28, "(WRITE, FORCE)"),
        ("process P\nP: exit\nP: exit", 3, 1, "none so far"),
        ("process P\nx: release", 2, 1, "for a process or a pin (P)"),
        ("process P\nexpect state P:0 \"- q\"", 2, 18, "a token a page"),
        ("process P\nexpect happiness", 2, 8, "what is expected"),
        ("file f 1 page crooked", 1, 15, "slow"),
        ("é$", 1, 2, "a name"),
        ("process P\nP: meanwhile fork Q", 2, 14, "madvise"),
    ];
    for (text, line, column, expected) in table {
        let mistake = parse(text).expect_err(text);
        assert_eq!((mistake.line, mistake.column), (line, column), "{text:?}: {mistake}");
        assert!(mistake.expected.contains(expected), "{text:?}: {mistake}");
        assert!(mistake.to_string().contains(&format!("line {line}, column {column}")));
    }
}

#[test]
fn bytes_that_are_no_text_are_a_mistake_with_a_place() {
    let mistake = parse_bytes(b"process P\nP: \xff").expect_err("not UTF-8");
    assert_eq!((mistake.line, mistake.column), (2, 4));
    assert_eq!(mistake.found, "byte 0xff");
}

#[test]
fn what_did_not_come_is_told_and_the_rest_is_played() {
    let text = "process P\nP: a = mmap 1 page r private anon\nP: write a \"x\"\n\
                P: read a 1 -> \"y\"\n\
                P: x = get_user_pages a 1 page -> 2, minor 7, rule C-32\nexpect pins x 1\n\
                P: get_user_pages a 1 page WRITE";
    let played = play(&parse(text).expect("no mistake")).expect("a machine");
    let unmet: Vec<Vec<String>> = played.reports.into_iter().map(|report| report.unmet).collect();
    assert_eq!(unmet[2], ["expected success, got SIGSEGV"]);
    assert_eq!(unmet[3], ["expected \"y\", got \"\\x00\""]);
    let third = ["expected 2, got 1", "expected 7 minor faults, got 0"];
    assert_eq!(unmet[4][..2], third);
    assert_eq!(unmet[4][2], "expected a decision by C-32, got none");
    assert_eq!(unmet[5], ["expected 1, it is 0"]);
    assert_eq!(unmet[6], ["expected success, got -EFAULT"]);
    assert_eq!(played.leaks, [""; 0]);
}

/// One of these words.
fn pick(words: &'static [&'static str]) -> impl Strategy<Value = &'static str> {
    prop::sample::select(words)
}

/// Lines that are nearly right, with numbers and names of all kinds.
fn line() -> impl Strategy<Value = String> {
    let number =
        prop_oneof![0..9_u64, Just(511), Just(4096), Just(1 << 47), Just(u64::MAX), any::<u64>(),];
    let length = (0..6_u64, pick(&["p", " pages", " bytes", "K", "M"]))
        .prop_map(|(count, unit)| format!("{count}{unit}"));
    let at = (pick(&["a", "b", "0x40000000", "0xffffffffffffffff"]), number, any::<bool>())
        .prop_map(
            |(base, offset, plus)| if plus { format!("{base}+{offset}") } else { base.to_owned() },
        );
    let who = pick(&["P", "Q", "R"]);
    let tail = pick(&[
        "rw private anon at 0x40000000",
        "rw private anon at 0x40000000 growsdown",
        "r shared file f",
        "rw private file f from 1",
        "rw shared anon locked",
        "rw private hugetlb",
        "rw private anon populate",
        "rw private device at 0x50000000",
        "none",
        "rwx",
        "r",
        "dontneed",
        "free",
        "pageout",
        "hugepage",
        "populate-write",
        "guard-install",
        "wipeonfork",
        "mergeable",
        "remove",
        "WRITE|GET",
        "WRITE|FORCE|GET nonblocking",
        "GET|NOWAIT nonblocking",
        "LONGTERM|WRITE",
        "by Q",
        "locked",
        "FORCE",
        "to 3 pages",
        "to 2M at 0x60000000",
        "\"text\"",
        "-> EFAULT",
        "5",
        "",
    ]);
    let verb = pick(&[
        "a = mmap",
        "b = mmap",
        "munmap",
        "mprotect",
        "madvise",
        "a = mremap",
        "mlock",
        "munlock",
        "write",
        "read",
        "ptrace-write",
        "process_vm_readv",
        "x = __get_user_pages",
        "x = get_user_pages",
        "y = pin_user_pages_remote",
        "y = pin_user_pages_fast",
        "get_user_pages_unlocked",
        "get_user_pages_locked",
        "meanwhile madvise",
    ]);
    let plain = pick(&[
        "P: fork Q",
        "Q: fork R",
        "P: exit",
        "Q: exit",
        "P: kill",
        "x: release",
        "y: dirty",
        "x: write 0 \"dma\"",
        "y: read 4090 9",
        "truncate f 1p",
        "truncate f 9p",
        "complete f",
        "expect same x P:a",
        "expect state P:a \"Ax -\"",
        "expect pins y 1",
        "process S",
    ]);
    prop_oneof![
        6 => (who, verb, at, length, tail).prop_map(|(who, verb, at, length, tail)| {
            let mmap = verb.ends_with("mmap");
            let at = if mmap { String::new() } else { at };
            format!("{who}: {verb} {at} {length} {tail}")
        }),
        2 => plain.prop_map(str::to_owned),
    ]
}

fn header() -> impl Strategy<Value = String> {
    (
        pick(&["linux 4.4", "linux 6.18"]),
        pick(&["", "nommu", "quirk dirty-cow", "thp always", "swap 16p", "hugepages 2"]),
    )
        .prop_map(|(linux, more)| format!("{linux}\nmemory 16M\n{more}\n"))
}

/// The lines of `lines` that are no mistake where they stand.
fn without_mistakes(header: &str, lines: &[String]) -> String {
    let mut text = format!(
        "{header}process P\nfile f 4 pages slow filled \"data\"\n\
         P: a = mmap 4 pages rw private anon\nP: b = mmap 4 pages rw private file f\n"
    );
    for line in lines {
        let longer = format!("{text}{line}\n");
        if parse(&longer).is_ok() {
            text = longer;
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse_bytes(&bytes);
    }

    #[test]
    fn no_words_make_the_reader_panic(
        lines in prop::collection::vec("[ -~é]{0,40}", 0..8),
        good in prop::collection::vec(line(), 0..8),
    ) {
        let _ = parse(&lines.join("\n"));
        let _ = parse(&good.join("\n"));
    }

    #[test]
    fn no_program_makes_the_player_panic_or_leaves_frames_behind(
        header in header(),
        lines in prop::collection::vec(line(), 1..24),
    ) {
        let text = without_mistakes(&header, &lines);
        let program = parse(&text).expect("no mistake");
        let played = play(&program);
        if let Ok(played) = played {
            prop_assert!(played.leaks.is_empty(), "{:?}\n{text}", played.leaks);
        }
    }
}
