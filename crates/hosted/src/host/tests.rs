//! Waiting, and failing on purpose.

use super::{Std, Tickets};
use gup::host::{Host, Injection, Ticket, WaitMode, Woken};
use gup::task::{Limits, Task};
use std::thread;
use std::time::Duration;

#[test]
fn a_wait_ends_when_the_ticket_is_completed_by_another_thread() {
    let (tickets, task) = (Tickets::default(), Task::new(Limits::default()));
    let ticket = tickets.issue();
    assert!(!tickets.is_ready(ticket));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| tickets.wait(ticket, WaitMode::Uninterruptible, &task));
        thread::sleep(Duration::from_millis(5));
        assert!(!waiter.is_finished());
        tickets.complete(ticket);
        assert_eq!(waiter.join().expect("no panic"), Woken::Ready);
    });
    assert_eq!(tickets.wait(ticket, WaitMode::Killable, &task), Woken::Ready, "and stays so");
}

#[test]
fn a_ticket_of_others_is_ready_once_completed_even_before_the_wait() {
    let (tickets, task) = (Tickets::default(), Task::new(Limits::default()));
    assert!(!tickets.is_ready(Ticket(7)));
    tickets.complete(Ticket(7));
    assert_eq!(tickets.wait(Ticket(7), WaitMode::Uninterruptible, &task), Woken::Ready);
}

#[test]
fn a_signal_ends_exactly_the_waits_that_heed_it() {
    let table = [
        // fatal, mode, ends
        (false, WaitMode::Interruptible, true),
        (false, WaitMode::Killable, false),
        (true, WaitMode::Killable, true),
        (true, WaitMode::Interruptible, true),
        (true, WaitMode::Uninterruptible, false),
    ];
    for (fatal, mode, ends) in table {
        let (tickets, task) = (Tickets::default(), Task::new(Limits::default()));
        if fatal {
            task.kill();
        } else {
            task.interrupt();
        }
        let ticket = tickets.issue();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(10));
                tickets.complete(ticket);
            });
            let want = if ends { Woken::Signal } else { Woken::Ready };
            assert_eq!(tickets.wait(ticket, mode, &task), want, "fatal: {fatal}, {mode:?}");
        });
    }
}

#[test]
fn only_the_nth_point_fails() {
    let host = Std::anonymous(1).expect("memory");
    let points = [Injection::TableAlloc, Injection::FolioAlloc(0), Injection::FolioAlloc(0)];
    let play = || points.map(|point| host.inject(point));
    assert_eq!(play(), [false; 3], "off");
    host.injector().watch();
    assert_eq!((play(), host.injector().stop()), ([false; 3], 3));
    host.injector().fail_nth(2);
    assert_eq!((play(), play()), ([false, true, false], [false; 3]));
    host.injector().fail_nth_of(Injection::FolioAlloc(0), 2);
    assert_eq!(play(), [false, false, true]);
    host.injector().stop();
    assert_eq!(play(), [false; 3]);
}
