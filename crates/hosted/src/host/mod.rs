//! The host itself: [`Std`], what it waits for ([`Tickets`]), how it fails on purpose
//! ([`Injector`]).

mod injector;
mod standard;
#[cfg(test)]
mod tests;
mod threads;
mod tickets;

pub use injector::Injector;
pub use standard::Std;
pub use tickets::Tickets;
