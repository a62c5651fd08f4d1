//! One look at a process: what was read of a range, who pins it, and the verdict.
//!
//! The answers ([`crate::answer`]) are computed from it, so that they speak of the same reading as
//! the verdict does.

use crate::answer::rates::Rates;
use crate::answer::what_if::WhatIf;
use crate::consumer::Consumer;
use crate::explain::request::Request;
use crate::explain::run::{NoVerdict, explain_window};
use crate::explain::verdict::Verdict;
use crate::kernel::Facts;
use crate::process::Process;
use crate::range::{BadRange, ByteRange, MAX_PAGES};
use crate::window::Window;

/// What was read of a process for one request, and the verdict.
pub struct Look<'a> {
    /// The process.
    pub process: &'a Process,
    /// Who pins, and which bytes.
    pub request: Request,
    /// Further ranges that the same call registers; the verdict does not speak of them.
    pub also: Vec<ByteRange>,
    /// What was read of the range.
    pub window: Window,
    /// What the consumer would get.
    pub verdict: Verdict,
    /// What pages cost on this machine, for whoever wants to know how long; nothing at first.
    pub rates: Option<Rates>,
    /// How the memory would have been made, for whoever asks what if; as it is, at first.
    pub what_if: WhatIf,
}

impl<'a> Look<'a> {
    /// Reads the range of `request` in `process`, and finds the verdict.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub fn at(process: &'a Process, request: Request) -> Result<Self, NoVerdict> {
        Self::under(process, request, &process.facts())
    }

    /// The same, by the rules of another kernel.
    ///
    /// # Errors
    /// [`NoVerdict`].
    pub fn under(
        process: &'a Process,
        request: Request,
        kernel: &Facts,
    ) -> Result<Self, NoVerdict> {
        let pages = request.range.pages();
        if pages > MAX_PAGES {
            return Err(BadRange::TooLong { pages }.into());
        }
        let pages = usize::try_from(pages).unwrap_or(usize::MAX);
        let mut window = Window::read(process, request.range.first_page(), pages)?;
        window.kernel.clone_from(kernel);
        if request.ask.consumer() == Some(Consumer::ProcCmdline) {
            window.look_at_the_end(process);
        }
        let verdict = explain_window(&window, &request)?;
        let (rates, what_if, also) = (None, WhatIf::default(), Vec::new());
        Ok(Self { process, request, also, window, verdict, rates, what_if })
    }

    /// Whether the process changed while it was looked at, or has ended since or runs another
    /// program.
    pub fn raced(&self) -> bool {
        let now = self.process.image_now().ok();
        self.window.raced || now != Some(self.process.image())
    }
}
