//! The BPF program: for each of the words asked for, `bpf_probe_read_kernel` of eight bytes.
//!
//! *Room*: the value of the map, seen by the program and by this process: how many words are asked
//! for, the current task's address (the program says it), then the addresses, then what is there.
//! What cannot be read is 0. Linux: `Documentation/bpf/standardization/instruction-set.rst`.

/// The most words of one run.
pub(super) const WORDS: usize = 1024;
/// Words of the room before the addresses.
pub(super) const HEAD: usize = 2;
/// Bytes of the room.
pub(super) const ROOM: usize = 8 * (HEAD + 2 * WORDS);

/// An instruction: code, destination, source, offset, number.
const fn insn(code: u8, dst: u8, src: u8, off: i16, imm: i32) -> u64 {
    code as u64
        | (dst as u64) << 8
        | (src as u64) << 12
        | (off.cast_unsigned() as u64) << 16
        | (imm.cast_unsigned() as u64) << 32
}

const LOAD_ADDRESS: u8 = 0x18;
const LOAD: u8 = 0x79;
const STORE: u8 = 0x7b;
const MOVE: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_NUMBER: u8 = 0x07;
const SHIFT: u8 = 0x67;
const JUMP: u8 = 0x05;
const IF_AT_LEAST: u8 = 0x3d;
const IF_ABOVE_NUMBER: u8 = 0x25;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
/// `LOAD_ADDRESS` of a map's value, the map given by its descriptor.
const MAP_VALUE: u8 = 2;
const GET_CURRENT_TASK: i32 = 35;
const PROBE_READ_KERNEL: i32 = 113;

const ADDRESSES: i16 = 8 * HEAD as i16;
const FOUND: i32 = 8 * (HEAD + WORDS) as i32;

/// The program, for a room that is the value of the map `map`.
pub(super) fn program(map: i32) -> [u64; 19] {
    [
        insn(LOAD_ADDRESS, 6, MAP_VALUE, 0, map),
        0,
        insn(CALL, 0, 0, 0, GET_CURRENT_TASK),
        insn(STORE, 6, 0, 8, 0),
        insn(LOAD, 8, 6, 0, 0),
        insn(MOVE_NUMBER, 7, 0, 0, 0),
        // The loop, for r7 below both r8 and WORDS.
        insn(IF_AT_LEAST, 7, 8, 10, 0),
        insn(IF_ABOVE_NUMBER, 7, 0, 9, WORDS as i32 - 1),
        insn(MOVE, 1, 7, 0, 0),
        insn(SHIFT, 1, 0, 0, 3),
        insn(ADD, 1, 6, 0, 0),
        insn(LOAD, 3, 1, ADDRESSES, 0),
        insn(ADD_NUMBER, 1, 0, 0, FOUND),
        insn(MOVE_NUMBER, 2, 0, 0, 8),
        insn(CALL, 0, 0, 0, PROBE_READ_KERNEL),
        insn(ADD_NUMBER, 7, 0, 0, 1),
        insn(JUMP, 0, 0, -11, 0),
        insn(MOVE_NUMBER, 0, 0, 0, 0),
        insn(EXIT, 0, 0, 0, 0),
    ]
}
