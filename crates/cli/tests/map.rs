//! `gup map`, run as a person runs it, on a process that holds many kinds of memory.

use gup_conformance::fixture::gallery::Gallery;
use gup_mirror::consumer::Consumer;
use gup_mirror::explain::explain;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::picture::Picture;
use gup_mirror::picture::fate::Fate;
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use serde_json::Value;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn gup(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gup")).args(args).output().expect("gup runs")
}

/// A process to look at.
fn gallery() -> Gallery {
    Gallery::start(Path::new(env!("CARGO_BIN_EXE_gup"))).expect("a process")
}

/// Resident pages, and faults so far.
fn traces(pid: u32) -> (String, Vec<String>) {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("alive");
    let rss = status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("alive");
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    (rss, fields.skip(7).take(4).map(str::to_owned).collect())
}

#[test]
fn looking_leaves_no_trace_in_the_process() {
    let gallery = gallery();
    let pid = gallery.pid().to_string();
    let before = traces(gallery.pid());
    for args in [&["--plain"][..], &["--json"], &["--svg", "-"], &["--html", "-"]] {
        for asker in [&[][..], &["--as", "io-uring-buffer"], &["--foll", "GET|FORCE"]] {
            let output = gup(&[&["map", "--pid", &pid], args, asker].concat());
            assert_eq!(output.status.code(), Some(0), "{args:?}");
            assert!(output.stdout.len() > 1000, "{args:?}");
        }
    }
    assert_eq!(traces(gallery.pid()), before);
}

#[test]
fn a_pipe_gets_letters_and_no_escapes() {
    let gallery = gallery();
    let pid = gallery.pid().to_string();
    let output = gup(&["map", "--pid", &pid, "--as", "rdma"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.contains("[stack]") && text.contains("would be refused"), "{text}");
    assert!(!text.contains('\u{1b}'));
    assert!(text.lines().all(|line| line.chars().count() <= 150), "{text}");
}

#[test]
fn the_fate_of_each_kind_is_what_explain_says_of_each_of_its_pages() {
    let gallery = gallery();
    let process = Process::open(gallery.pid()).expect("ours");
    for &consumer in &[Consumer::IoUringBuffer, Consumer::ProcMemWrite, Consumer::Vmsplice] {
        let ask = Ask::Consumer(consumer);
        let picture = Picture::read(&process, Some(ask)).expect("readable");
        let mut asked = 0;
        for region in &picture.regions {
            for run in region.runs.iter().filter(|run| run.parts.len() == 1) {
                let (last, kind) = (run.end() - 4096, usize::from(run.parts[0].0));
                for addr in [run.start, last] {
                    let range = ByteRange::new(addr, 4096).expect("a page");
                    let verdict = explain(&process, &Request { ask, range }).expect("a verdict");
                    let said = match &region.kinds[kind].fate {
                        Some(Fate::Done(_)) => verdict.stop.is_none(),
                        Some(Fate::Refused { rule, errno }) => verdict
                            .stop
                            .as_ref()
                            .is_some_and(|stop| (stop.rule, stop.errno) == (*rule, *errno)),
                        Some(Fate::Unknown(unseen)) => *verdict.unseen == **unseen,
                        None => false,
                    };
                    let kind = &region.kinds[kind];
                    assert!(said, "{} at {addr:#x}: {kind:?}, {verdict:?}", consumer.name());
                    asked += 1;
                }
            }
        }
        assert!(asked > 60, "{asked} pages");
    }
}

#[test]
fn the_data_hold_every_page_of_every_area_once() {
    let output = gup(&["map", "--demo", "--as", "io-uring-buffer", "--json"]);
    let object: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(object["schema"], "gup.map/1");
    let number = |value: &Value| {
        let text = value.as_str().and_then(|text| text.strip_prefix("0x")).expect("an address");
        u64::from_str_radix(text, 16).expect("hexadecimal")
    };
    let areas = object["areas"].as_array().expect("areas");
    for area in areas {
        let mut at = number(&area["start"]);
        for run in area["runs"].as_array().expect("runs") {
            assert_eq!(number(&run["start"]), at);
            at += run["pages"].as_u64().expect("pages") << 12;
        }
        assert_eq!(at, number(&area["end"]), "{area}");
    }
    let verdicts: Vec<&Value> =
        areas.iter().filter_map(|area| area["kinds"].as_array()).flatten().collect();
    for verdict in ["obtained", "refused"] {
        assert!(verdicts.iter().any(|kind| kind["verdict"] == verdict), "{verdict}");
    }
}

#[test]
fn another_kernel_refuses_by_its_own_rules() {
    let refused_by = |kernel: &str, rule: &str| {
        let ask = ["map", "--demo", "--as", "vfio", "--json", "--kernel", kernel];
        let object: Value = serde_json::from_slice(&gup(&ask).stdout).expect("one JSON object");
        assert_eq!(object["rules"], kernel);
        let areas = object["areas"].as_array().expect("areas");
        let mut kinds = areas.iter().filter_map(|area| area["kinds"].as_array()).flatten();
        kinds.any(|kind| kind["rule"] == rule)
    };
    assert!(refused_by("6.18", "C-31") && refused_by("5.15", "C-31"), "secret memory, always");
    if gup_conformance::fixture::files::usable_dir().is_none() {
        let _ = writeln!(std::io::stderr(), "cannot ask: no folder here is on a disk");
        return;
    }
    assert!(refused_by("6.18", "C-32") && !refused_by("5.15", "C-32"), "since 6.5");
}

#[test]
fn mistakes_are_told_with_what_to_do() {
    let table: [(&[&str], i32, &str); 5] = [
        (&["map"], 2, "--pid"),
        (&["map", "--pid", "4294967295"], 3, "is gone"),
        (&["map", "--demo", "--as", "nobody"], 2, "--as takes one of"),
        (&["map", "--demo", "--by", "verdict"], 2, "add --as CONSUMER"),
        (&["map", "--demo", "--svg", "/nowhere/at/all.svg"], 3, "/nowhere/at/all.svg"),
    ];
    for (args, status, words) in table {
        let output = gup(args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {text}");
        assert!(text.contains(words), "{args:?}: {text}");
    }
}

/// A browser that runs without a screen.
fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|dir| names.map(|name| dir.join(name)))
        .find(|program| program.is_file())
}

#[test]
fn a_browser_without_network_draws_the_page() {
    let Some(browser) = browser() else {
        let _ = writeln!(std::io::stderr(), "cannot ask: no chromium to open the page with");
        return;
    };
    let dir = std::env::temp_dir().join(format!("gup-map-{}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a folder");
    let page = dir.join("map.html");
    let file = page.to_str().expect("a path");
    let made = gup(&["map", "--demo", "--as", "io-uring-buffer", "--html", file]);
    assert_eq!(made.status.code(), Some(0));
    let output = Command::new("timeout")
        .args(["60", browser.to_str().unwrap_or_default()])
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--window-size=1200,800", "--virtual-time-budget=3000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file://{file}#zoom=1&refused"))
        .output()
        .expect("timeout runs");
    let _ = std::fs::remove_dir_all(&dir);
    let dom = String::from_utf8_lossy(&output.stdout);
    if dom.is_empty() {
        let told = String::from_utf8_lossy(&output.stderr);
        let _ = writeln!(std::io::stderr(), "cannot ask: the browser does not start: {told}");
        return;
    }
    let root = dom.split_once('>').map_or("", |(_, rest)| rest).split_once('>').unwrap_or_default();
    assert!(root.0.contains("data-ready=\"yes\""), "the script came to its end: {}", root.0);
    let value = |name: &str| -> u64 {
        let rest = root.0.split_once(&format!("data-{name}=\"")).map_or("0", |(_, rest)| rest);
        rest.split('"').next().and_then(|digits| digits.parse().ok()).unwrap_or(0)
    };
    assert!(value("areas") > 20 && value("cells") > 100, "{}", root.0);
    assert!(dom.contains("refused with EFAULT"), "the refused page is shown at the side");
}

#[test]
fn the_picture_in_the_docs_is_small_and_shows_no_path() {
    let text = include_str!("../../../docs/map.svg");
    roxmltree::Document::parse(text).expect("well-formed");
    assert!(text.len() < 60_000, "{} bytes", text.len());
    for path in ["/home", "/root", "/work", "/usr", "target/"] {
        assert!(!text.contains(path), "{path}");
    }
}
