//! Every recorded program, played in the engine: the kernel's answers, and the state of every page.

use gup_conformance::replay::{compare, play, programs};
use gup_conformance::rows;
use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn the_engine_answers_every_recorded_program_as_the_kernel_did() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/linux-6.18/public-240x60.jsonl.gz");
    let programs = programs(Path::new(path)).expect("the programs are in the repository");
    let mut unlike: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let mut count = 0;
    for program in &programs {
        if let Err(difference) = play(program) {
            count += 1;
            let shown = serde_json::to_string(&difference).expect("plain data");
            unlike.entry(difference.kernel.op.clone()).or_insert((0, shown)).0 += 1;
        }
    }
    for (op, (count, first)) in &unlike {
        println!("{op}: {count}, first {first}");
    }
    assert_eq!((count, programs.len()), (0, 240), "programs answered otherwise");
}

#[test]
fn the_engine_answers_every_recorded_row_as_the_kernel_did() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../vectors/linux-6.18/kernel-rows.jsonl.gz");
    let rows = rows::read(Path::new(path)).expect("the rows are in the repository");
    let (mut same, mut unlike) = (0, Vec::new());
    for row in &rows {
        match compare(row) {
            Some(None) => same += 1,
            Some(Some(found)) => unlike.push(found.to_string()),
            None => unlike.push(format!("{}/{} cannot be made", row.kind, row.driver)),
        }
    }
    assert!(unlike.is_empty(), "{} otherwise:\n{}", unlike.len(), unlike.join("\n"));
    assert_eq!(same, 48 * 22);
}
