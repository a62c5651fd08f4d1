//! A reader without privilege: this program as user 65534, asked line by line.

use crate::looks;
use gup_mirror::consumer::Consumer;
use serde_json::Value;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

/// The argument that makes this program a reader.
pub(crate) const ROLE: &str = "__reader";
/// Nobody.
pub(crate) const NOBODY: u32 = 65534;

/// Answers `PID START LEN CONSUMER`, one JSON object a line.
pub(crate) fn serve() -> ExitCode {
    for line in io::stdin().lines().map_while(Result::ok) {
        let words: Vec<&str> = line.split(' ').collect();
        let [pid, start, len, consumer] = words[..] else { return ExitCode::FAILURE };
        let number = |word: &str| word.parse::<u64>().unwrap_or(0);
        let Some(consumer) = Consumer::from_name(consumer) else { return ExitCode::FAILURE };
        println!("{}", looks::look(number(pid) as u32, number(start), number(len), consumer));
    }
    ExitCode::SUCCESS
}

/// A reader that runs.
pub(crate) struct Reader {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Reader {
    /// Starts `program` as nobody.
    pub(crate) fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg(ROLE)
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let tell = child.stdin.take().ok_or_else(broken)?;
        let hear = BufReader::new(child.stdout.take().ok_or_else(broken)?);
        Ok(Self { child, tell, hear })
    }

    /// What it sees.
    pub(crate) fn look(&mut self, pid: u32, start: u64, len: u64, consumer: Consumer) -> Value {
        writeln!(self.tell, "{pid} {start} {len} {}", consumer.name()).expect("it listens");
        let mut line = String::new();
        self.hear.read_line(&mut line).expect("it answers");
        serde_json::from_str(&line).expect("one object a line")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
