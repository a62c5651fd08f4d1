//! A look that is interrupted answers about the pages that it has seen, and says how many those
//! are.
//!
//! A program of its own: the flag stands for the whole of it.

use gup_mirror::consumer::Consumer;
use gup_mirror::explain::glance;
use gup_mirror::explain::request::{Ask, Request};
use gup_mirror::meanwhile::{interruption, pages_read};
use gup_mirror::process::Process;
use gup_mirror::range::ByteRange;
use std::sync::atomic::Ordering;

#[test]
fn an_interrupted_look_is_about_the_pages_before_and_the_next_one_is_whole() {
    let memory = vec![7_u8; 32 << 20];
    let start = memory.as_ptr() as u64;
    let range = ByteRange::new(start, memory.len() as u64).expect("a range");
    let process = Process::open(std::process::id()).expect("ourselves");
    for consumer in [Consumer::ProcessVmReadv, Consumer::Mlock, Consumer::IoUringBuffer] {
        let request = Request { ask: Ask::Consumer(consumer), range };
        let before = pages_read();
        interruption().store(true, Ordering::SeqCst);
        let part = glance(&process, &request, &process.facts()).expect("a look");
        let seen = part.verdict.nr_pages;
        assert!(0 < seen && seen < range.pages(), "{seen}");
        assert_eq!(pages_read() - before, seen);
        assert_eq!(part.interrupted, Some(range.pages()));
        assert_eq!((part.verdict.gup, part.verdict.call), (Ok(seen), None));
        assert!(!interruption().load(Ordering::SeqCst), "it was answered");

        let whole = glance(&process, &request, &process.facts()).expect("a look");
        assert_eq!((whole.interrupted, whole.verdict.nr_pages), (None, range.pages()));
        assert!(whole.verdict.call.is_some());
    }
    // A look at few pages is over before anybody could wait for it.
    interruption().store(true, Ordering::SeqCst);
    let short = ByteRange::new(start, 1).expect("a range");
    let ask = Ask::Consumer(Consumer::ProcessVmReadv);
    let look = glance(&process, &Request { ask, range: short }, &process.facts()).expect("one");
    assert_eq!((look.interrupted, look.verdict.nr_pages), (None, 1));
}
