//! Stores: pages in real files ([`FileStore`], [`SwapFile`]), and slow ones ([`SlowStore`]).

mod file;
mod slow;
mod swap;
#[cfg(test)]
mod tests;

pub use file::FileStore;
pub use slow::SlowStore;
pub use swap::SwapFile;
