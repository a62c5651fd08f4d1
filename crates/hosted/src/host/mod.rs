//! The host itself: [`Std`], what it waits for ([`Tickets`]), how it fails on purpose
//! ([`Injector`]).

mod epochs;
mod injector;
mod standard;
#[cfg(test)]
mod tests;
mod threads;
mod tickets;

pub use epochs::Epochs;
pub use injector::Injector;
pub use standard::Std;
pub use tickets::Tickets;
