//! The vectors of `vectors/linux-6.18/`, put to the engine and to the running kernel.
//!
//! Without the test harness: the kernel is asked from a process with one thread. With the argument
//! `record FILE` it prints the file with this kernel's answers in place of those that are there.

use gup_conformance::fixture::files;
use gup_conformance::sys;
use gup_conformance::vectors::{Told, Vector, VectorTotals, ask_engine, ask_kernel, open, run};
use std::io::Write;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors/linux-6.18")
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    sys::stay_on_one_cpu(0);
    if let [verb, file] = args.as_slice()
        && verb == "record"
    {
        return record(Path::new(file));
    }
    let vectors = open(&folder().join("vectors.jsonl")).expect("the vectors are in the repository");
    assert!(vectors.len() >= 300, "{} vectors", vectors.len());
    names_differ(&vectors);
    the_engine_answers_as_the_vectors_say(&vectors);
    the_running_kernel_answers_as_the_vectors_say(&vectors);
}

fn names_differ(vectors: &[Vector]) {
    let mut names: Vec<&str> = vectors.iter().map(|vector| vector.id.as_str()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "every vector has its own name");
}

fn the_engine_answers_as_the_vectors_say(vectors: &[Vector]) {
    let totals = run(vectors, ask_engine, |_| true);
    report("engine", &totals);
    assert_eq!(totals.all.differs, 0, "the engine answers as the vectors say");
    assert!(totals.all.ok >= 300, "most vectors can be put to the engine");
}

fn the_running_kernel_answers_as_the_vectors_say(vectors: &[Vector]) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    if !cfg!(target_arch = "x86_64") || !release.starts_with("6.18") {
        let _ = writeln!(std::io::stderr(), "cannot ask: the vectors are of Linux 6.18, x86-64");
        return;
    }
    let dir = files::usable_dir();
    let totals = run(vectors, |vector| ask_kernel(vector, dir.as_deref()), |_| true);
    report("kernel", &totals);
    assert_eq!(totals.all.differs, 0, "the running kernel answers as the vectors say");
    assert!(totals.all.ok >= 200, "most vectors can be put to any kernel");
}

fn report(world: &str, totals: &VectorTotals) {
    let (ok, differs) = (totals.all.ok, totals.all.differs);
    println!("{world}: {ok} vectors answered as they say, {differs} otherwise");
    for (why, count) in &totals.reasons {
        let _ = writeln!(std::io::stderr(), "{world} cannot ask: {count} of {why}");
    }
    for found in &totals.found {
        println!(
            "  {}\n      answered {:?}",
            serde_json::to_string(&found.vector).unwrap_or_default(),
            found.answer
        );
    }
}

fn record(file: &Path) {
    let dir = files::usable_dir();
    for mut vector in open(file).expect("a file of vectors") {
        match ask_kernel(&vector, dir.as_deref()) {
            Told::Answer(answer) => vector.answer = answer,
            Told::Cannot(why) => eprintln!("{}: cannot ask: {why}", vector.id),
        }
        println!("{}", serde_json::to_string(&vector).expect("plain data"));
    }
}
