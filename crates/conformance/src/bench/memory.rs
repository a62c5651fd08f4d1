//! What the engine's own records take.

use super::measure::{Bench, none};
use super::report::{About, Aim, Figure::Engine};
use super::space::{CannotBench, Host};
use gup::frame::METADATA_BYTES;
use gup::vma::Vma;

pub(super) static ROWS: [About; 2] = [
    About {
        name: "memory-frame",
        unit: "bytes/frame",
        what: "metadata of a frame",
        against: "-",
        asked: "",
        aims: &[Aim::AtMost(Engine, 24.0)],
    },
    About {
        name: "memory-vma",
        unit: "bytes/area",
        what: "size of an area, without the trees that it is kept in",
        against: "-",
        asked: "object size of vm_area_struct, for root",
        aims: &[Aim::AtMost(Engine, 192.0)],
    },
];

#[allow(clippy::unnecessary_wraps, reason = "as every group's")]
pub(super) fn measure(bench: &mut Bench<'_>) -> Result<(), CannotBench> {
    let [frame, vma] = &ROWS;
    let bytes = |size: usize| u32::try_from(size).ok().map(f64::from);
    bench.compare_up_to(1, frame, &mut || bytes(METADATA_BYTES), &mut none, &mut none);
    bench.compare_up_to(1, vma, &mut || bytes(size_of::<Vma<Host>>()), &mut none, &mut slab_object);
    Ok(())
}

fn slab_object() -> Option<f64> {
    let text = std::fs::read_to_string("/sys/kernel/slab/vm_area_struct/object_size").ok()?;
    text.trim().parse().ok()
}
