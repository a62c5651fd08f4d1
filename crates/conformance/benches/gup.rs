//! `cargo bench`: the rows of `gup bench`, as a table.

use gup_conformance::bench::{Effort, run};

fn main() {
    let effort =
        if std::env::args().any(|arg| arg == "--test") { Effort::Quick } else { Effort::Full };
    match run(effort, &[], |name| eprintln!("measuring {name}")) {
        Ok(report) => print!("{report}"),
        Err(error) => {
            eprintln!("gup bench: {error}");
            std::process::exit(3);
        }
    }
}
