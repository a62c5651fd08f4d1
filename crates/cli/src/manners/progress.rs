//! What a terminal shows while something takes longer than a second: how far it is.
//!
//! On standard error, and only if that is a terminal; it is gone before anything else is printed.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How often it is looked how far something is.
const TICK: Duration = Duration::from_millis(100);
/// How long nothing is shown.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that steps move, shown once a second has passed.
pub(crate) struct Bar {
    bar: ProgressBar,
    begun: Instant,
}

impl Bar {
    /// Of `all` things (`None`: as many as there is time for), named so.
    pub(crate) fn new(all: Option<u64>, things: &str) -> Self {
        let bar = ProgressBar::with_draw_target(all, ProgressDrawTarget::hidden());
        let template = match all {
            Some(_) => format!(
                "{{wide_bar}} {{pos}} of {{len}} {things}{{msg}}, {{elapsed}} ({{eta}} to go)"
            ),
            None => format!("{{spinner}} {{pos}} {things}{{msg}}, {{elapsed}}"),
        };
        let style = ProgressStyle::with_template(&template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, begun: Instant::now() }
    }

    /// So many are done, and this is to be said besides.
    pub(crate) fn show(&self, done: u64, besides: String) {
        if self.bar.is_hidden() && stderr().is_terminal() && self.begun.elapsed() >= PATIENCE {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(besides);
        self.bar.set_position(done);
    }

    /// Prints while the bar is out of the way.
    pub(crate) fn aside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        self.bar.finish_and_clear();
    }
}

/// A bar for something that does not say itself how far it is: it is asked, ten times a second.
pub(crate) struct Watched {
    stop: Option<Sender<()>>,
    shows: Option<JoinHandle<()>>,
}

impl Watched {
    /// Of `all` things, named so; `done` says how many there are.
    pub(crate) fn new(
        all: u64,
        things: &'static str,
        done: impl Fn() -> u64 + Send + 'static,
    ) -> Self {
        if !stderr().is_terminal() {
            return Self { stop: None, shows: None };
        }
        let (stop, stopped) = channel();
        let shows = std::thread::spawn(move || {
            let bar = Bar::new(Some(all), things);
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                bar.show(done().min(all), String::new());
            }
            bar.end();
        });
        Self { stop: Some(stop), shows: Some(shows) }
    }
}

impl Watched {
    /// For something of which nothing is known but that it goes on.
    pub(crate) fn busy(what: &'static str) -> Self {
        if !stderr().is_terminal() {
            return Self { stop: None, shows: None };
        }
        let (stop, stopped) = channel();
        let shows = std::thread::spawn(move || {
            if stopped.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}");
            let bar = ProgressBar::new_spinner().with_message(what);
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                bar.tick();
            }
            bar.finish_and_clear();
        });
        Self { stop: Some(stop), shows: Some(shows) }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(shows) = self.shows.take() {
            // A bar that panicked is no reason to.
            let _ = shows.join();
        }
    }
}
