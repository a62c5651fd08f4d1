//! Rows A-01 … A-25: the top loop.

use crate::support::{Call, page, row, rw};
use gup::rule::a;

#[test]
fn a_01_an_empty_request_returns_0_before_any_check() {
    row(a::A_01, |w| {
        let answer = w.call(Call { start: page(9), nr_pages: 0, flags: 0, ..Call::default() });
        assert_eq!(answer.ret, 0);
        assert!(w.seen(a::A_09).is_none() && w.host().bugs.lock().unwrap().is_empty());
    });
}
#[test]
fn a_09_an_address_without_an_area_is_refused() {
    row(a::A_09, |w| {
        assert_eq!(w.gup(4, page(0), 1).ret, -14);
        w.area(0, 2, rw());
        let answer = w.gup(4, page(0), 3);
        assert_eq!(answer.ret, 2, "what came before the hole counts");
    });
}
