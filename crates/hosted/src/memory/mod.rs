//! Mapped memory: the mapping ([`arena`]), and how its words are moved ([`words`]).

mod arena;
#[cfg(test)]
mod tests;
mod words;

pub use arena::HostedMemory;
