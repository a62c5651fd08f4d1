//! userfaultfd: who is told of what, and what a handler can do about it.

use crate::world::{RO, RW, RWS, Sim, Space, page, pages};
use gup::errno::Errno;
use gup::fault::Fault;
use gup::fault::userfault::{self, Protection, UNDELIVERED};
use gup::flags::{FaultFlags, VmFlags};
use gup::host::Ticket;
use gup::linux::Linux;
use gup::pgtable::{Entry, SwapEntry};
use gup::rule::c;
use gup::vma::{Backing, UserFault, UserFaultMessage, Vma};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};

#[derive(Default)]
struct Handler {
    sigbus: bool,
    wp_async: bool,
    told: Mutex<Vec<UserFaultMessage>>,
}

impl UserFault for Handler {
    fn sigbus(&self) -> bool {
        self.sigbus
    }
    fn wp_async(&self) -> bool {
        self.wp_async
    }
    fn deliver(&self, message: UserFaultMessage) -> Ticket {
        self.told.lock().unwrap().push(message);
        Ticket(5)
    }
}

/// Pages 0..4, registered with `handler`.
fn registered(handler: &Arc<Handler>, flags: VmFlags, backing: Backing<Sim>) -> Space {
    let space = Space::new(Linux::V6_18);
    register(&space, handler, flags, backing);
    space
}

fn register(space: &Space, handler: &Arc<Handler>, flags: VmFlags, backing: Backing<Sim>) {
    let mut map = space.mm.write();
    let id = map.new_id();
    let mut vma = Vma::new(id, pages(0, 4), flags, backing, 0);
    vma.uffd = Some(Arc::clone(handler) as Arc<dyn UserFault>);
    map.insert(vma);
}

const RETRY: FaultFlags = FaultFlags::ALLOW_RETRY;

#[test]
fn c_63_a_missing_page_is_delivered_only_to_those_who_can_wait() {
    let handler = Arc::new(Handler::default());
    let space = registered(&handler, RW | VmFlags::UFFD_MISSING, Backing::Anonymous);
    assert_eq!(space.read(0), Fault::SIGBUS);
    assert!(space.decided(c::C_63, 0));
    assert_eq!(space.fault(0, RETRY | FaultFlags::RETRY_NOWAIT), Fault::Kept(UNDELIVERED));
    assert!(handler.told.lock().unwrap().is_empty(), "nobody was told");
    assert_eq!(space.fault(1, RETRY | FaultFlags::WRITE), Fault::Retry(Ticket(5)));
    assert_eq!(space.fault(2, RETRY | FaultFlags::TRIED), Fault::Retry(Ticket(5)));
    let told: Vec<_> = handler.told.lock().unwrap().iter().map(|m| (m.addr, m.write)).collect();
    assert_eq!(told, [(page(1), true), (page(2), false)]);
    space.task.dumping.store(true, Relaxed);
    assert_eq!(space.fault(1, RETRY), Fault::SIGBUS, "a dumping task is not served");
    assert_eq!(space.state(1), "-");
}

#[test]
fn c_63_the_sigbus_feature_fails_every_fault() {
    let handler = Arc::new(Handler { sigbus: true, ..Handler::default() });
    let space = registered(&handler, RW | VmFlags::UFFD_MISSING, Backing::Anonymous);
    assert_eq!(space.fault(0, RETRY), Fault::SIGBUS);
}

#[test]
fn a_handler_copies_or_zeroes_what_is_missing_once() {
    let handler = Arc::new(Handler::default());
    let space = registered(&handler, RW | VmFlags::UFFD_MISSING, Backing::Anonymous);
    let map = space.mm.read();
    assert_eq!(userfault::copy(&map, page(0), &[7; 16]), Ok(()));
    assert_eq!(userfault::copy(&map, page(0), &[8; 16]), Err(Errno::EEXIST));
    assert_eq!(userfault::zeropage(&map, page(1)), Ok(()));
    assert_eq!(userfault::copy(&map, page(1).saturating_add(8), &[]), Err(Errno::EINVAL));
    assert_eq!(userfault::copy(&map, page(9), &[]), Err(Errno::ENOENT));
    drop(map);
    assert_eq!((space.state(0), space.peek(0)), ("Ax1w".into(), 7));
    assert_eq!(space.state(1), "Zr");
    assert_eq!(space.write(0), Fault::MINOR);
}

#[test]
fn a_store_to_a_protected_page_is_delivered_or_let_through() {
    for wp_async in [false, true] {
        let handler = Arc::new(Handler { wp_async, ..Handler::default() });
        let space = registered(&handler, RW | VmFlags::UFFD_WP, Backing::Anonymous);
        space.poke(0, 1);
        userfault::write_protect(&space.mm.read(), pages(0, 4), Protection::On).unwrap();
        assert_eq!(space.state(0), "Ax1r");
        let want = if wp_async { Fault::WROTE } else { Fault::Retry(Ticket(5)) };
        assert_eq!(space.fault(0, RETRY | FaultFlags::WRITE), want);
        assert_eq!(handler.told.lock().unwrap().len(), usize::from(!wp_async));
        userfault::write_protect(&space.mm.read(), pages(0, 4), Protection::Off).unwrap();
        assert!(matches!(space.write(0), Fault::Done { .. }));
        assert_eq!(space.state(0), "Ax1w");
    }
}

#[test]
fn f_32_taking_protection_back_opens_a_page_of_ones_own_and_leaves_shared_memory_to_a_fault() {
    let handler = Arc::new(Handler::default());
    let own = registered(&handler, RW | VmFlags::UFFD_WP, Backing::Anonymous);
    own.poke(0, 1);
    let shared = Space::new(Linux::V6_18);
    let backing = Backing::File(gup::vma::FileMapping::new(shared.memfd(4)));
    register(&shared, &handler, RWS | VmFlags::UFFD_WP, backing);
    assert_eq!((shared.read(0), shared.state(0)), (Fault::MINOR, "F1r".into()), "stores are told");
    shared.poke(0, 1);
    assert_eq!(shared.state(0), "F1w");
    for (space, want) in [(&own, "Ax1w"), (&shared, "F1r")] {
        for protection in [Protection::On, Protection::Off] {
            userfault::write_protect(&space.mm.read(), pages(0, 4), protection).unwrap();
        }
        assert_eq!(space.state(0), want);
        assert!(space.mm.tables().walk(page(0)).entry.is_dirty());
    }
}

#[test]
fn minor_faults_of_shared_memory_are_delivered_once_the_page_is_cached() {
    let handler = Arc::new(Handler::default());
    let space = Space::new(Linux::V6_18);
    let memfd = space.memfd(4);
    memfd.write_at(&space.machine(), 0, &[1]).unwrap();
    let backing = Backing::File(gup::vma::FileMapping::new(Arc::clone(&memfd)));
    register(&space, &handler, RWS | VmFlags::UFFD_MINOR, backing);
    assert_eq!(space.fault(0, RETRY), Fault::Retry(Ticket(5)));
    assert!(handler.told.lock().unwrap()[0].minor);
    assert_eq!(space.fault(1, RETRY), Fault::MINOR, "a page that is not cached is no minor fault");
}

#[test]
fn a_marker_keeps_the_page_that_comes_write_protected() {
    let handler = Arc::new(Handler::default());
    let space = registered(&handler, RW | VmFlags::UFFD_WP, Backing::Anonymous);
    let tables = space.mm.tables();
    let place = tables.make(page(0), 0).unwrap();
    tables.store(place, Entry::swap(SwapEntry::UffdWp));
    assert_eq!(space.write(0), Fault::MINOR);
    assert_eq!(space.state(0), "Ax1r");
    assert!(space.leaf(0).unwrap().1.uffd_wp);
    assert!(RO.contains(VmFlags::READ));
}
