//! The README's program: map memory, pin it, write through the pin, and be refused beyond its end.

use gup::flags::Prot;
use gup::gup::{Read, Write};
use gup::heap_host::HeapHost;
use gup::linux::Linux;
use gup::mapping::{MmapRequest, mmap};
use gup::mm::{Machine, MachineConfig, Mm};
use gup::task::Task;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let machine = Machine::new(HeapHost::new(64), MachineConfig::new(Linux::V6_18, 64))?;
    let (mm, task) = (Mm::new(&machine)?, Task::default());
    let memory = MmapRequest::anonymous(4 * 4096, Prot::READ | Prot::WRITE);
    let at = mmap(&mut mm.write(), &task, &memory)?;

    let pins = mm.pin::<Write>(&task, at, 4)?; // faults the pages in, then holds their frames
    pins.write(0, 0, b"a device wrote this");
    println!("{} pages are pinned, in frames {:?}", pins.len(), pins.frames());

    let beyond = at.wrapping_add(4 * 4096);
    if let Err(error) = mm.pin::<Read>(&task, beyond, 1) {
        println!("{error}"); // which page, which errno, which rule of Linux, what to do
    }
    Ok(())
}
