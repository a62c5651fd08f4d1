//! `gup map`: the address space of a live process as a picture.
//!
//! What was read is a [`gup_mirror::picture::Picture`]. [`rows`] lays it out, [`ink`] says how each
//! kind of page is drawn, and every way to draw has a file of its own.

mod draw;
mod html;
mod ink;
mod json;
mod plain;
mod rows;
mod seek;
mod svg;
mod terminal;
#[cfg(test)]
mod tests;
mod verb;
mod view;
mod words;

pub(crate) use verb::run;
