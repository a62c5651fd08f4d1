//! The list of answers: options, fields and paragraphs are made from it.
//!
//! To add one: `answer/NAME.rs` in `gup-mirror` with `pub fn NAME(&Look) -> Result<_, NoVerdict>`;
//! `answers/NAME.rs` here with `Object::new`, which is its JSON form, and `print`, its paragraph;
//! one line in the list below; its fields in `docs/json.md`.

use crate::status::Failure;
use gup_mirror::answer;
use gup_mirror::explain::look::Look;
use serde::Serialize;
use std::io::{self, Write};

macro_rules! answers {
    ($($name:ident: $answer:ident $help:literal;)*) => {
        /// Which answers are asked for.
        #[derive(Clone, Debug, clap::Args)]
        #[allow(clippy::struct_excessive_bools, reason = "one for each option")]
        #[allow(clippy::doc_markdown, reason = "the lines are also printed to terminals")]
        pub(crate) struct AnswerArgs { $(
            #[doc = $help]
            #[arg(long)]
            pub(crate) $name: bool,
        )*
            /// How the memory would have been made.
            #[command(flatten)]
            pub(crate) what_if: super::cost::WhatIfArgs,
        }

        impl AnswerArgs {
            /// Whether any is asked for.
            pub(crate) const fn any(&self) -> bool {
                false $(|| self.$name)*
            }
        }

        /// The answers that were asked for.
        #[derive(Default)]
        pub(crate) struct Answers { $($name: Option<answer::$name::$answer>,)* }

        /// Their fields of the JSON object.
        #[derive(Debug, Serialize)]
        pub(crate) struct Objects { $(
            #[serde(skip_serializing_if = "Option::is_none")]
            $name: Option<super::$name::Object>,
        )* }

        impl Answers {
            /// Computes those that are asked for.
            pub(crate) fn of(args: &AnswerArgs, look: &Look<'_>) -> Result<Self, Failure> {
                Ok(Self { $(
                    $name: if args.$name { Some(answer::$name::$name(look)?) } else { None },
                )* })
            }

            /// Their JSON form.
            pub(crate) fn objects(&self) -> Objects {
                Objects { $($name: self.$name.as_ref().map(super::$name::Object::new),)* }
            }

            /// Their human form, a paragraph each.
            pub(crate) fn print(&self, out: &mut impl Write) -> io::Result<()> {
                $(if let Some(answer) = &self.$name {
                    writeln!(out)?;
                    super::$name::print(answer, out)?;
                })*
                Ok(())
            }
        }
    };
}

impl Answers {
    /// Whether one of them says that the call fails although every page would be had.
    pub(crate) fn refuse(&self) -> bool {
        self.memlock.as_ref().is_some_and(|ledger| ledger.errno.is_some())
    }
}

answers! {
    cost: Cost "Say what the pin does, counted, and how long that takes on this machine";
    fork: Fork "Say what becomes of the range and its pins when the process forks";
    memlock: Memlock "Say whose limit on locked memory counts, what is used and what is missing";
    movable: Movable "Say which pages a long-term pin must move first";
    readers: Readers "Say what the three ways to read from outside would get, side by side";
    rss: Added "Say how much memory the pin adds to the process";
}
