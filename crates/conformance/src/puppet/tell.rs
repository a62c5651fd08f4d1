//! The side that tells: starts a puppet, sends it lines, reads its answers.

use rustix::io::Errno;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The first argument that makes a program a puppet.
pub const PUPPET_ARGUMENT: &str = "__puppet";

/// A live process that does what it is told. It ends when this value is dropped.
#[derive(Debug)]
pub struct Puppet {
    child: Child,
    tell: ChildStdin,
    hear: BufReader<ChildStdout>,
}

impl Puppet {
    /// Starts a puppet from `program`, which calls [`super::serve()`] when its first argument is
    /// [`PUPPET_ARGUMENT`].
    ///
    /// # Errors
    /// The process could not be started.
    pub fn start(program: &Path) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg(PUPPET_ARGUMENT)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let tell = child.stdin.take().ok_or_else(broken)?;
        let hear = BufReader::new(child.stdout.take().ok_or_else(broken)?);
        Ok(Self { child, tell, hear })
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells it one line, and gives its answer.
    ///
    /// # Errors
    /// The errno of the system call that it made; `EPIPE` if it is gone.
    pub fn tell(&mut self, line: &str) -> Result<i64, Errno> {
        let mut answer = String::new();
        writeln!(self.tell, "{line}").map_err(|_| Errno::PIPE)?;
        self.hear.read_line(&mut answer).map_err(|_| Errno::PIPE)?;
        let (word, number) = answer.trim().split_once(' ').ok_or(Errno::PIPE)?;
        let number: i64 = number.parse().map_err(|_| Errno::PIPE)?;
        match word {
            "ok" => Ok(number),
            _ => Err(Errno::from_raw_os_error(i32::try_from(number).unwrap_or(0))),
        }
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
