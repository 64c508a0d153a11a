// SPDX-License-Identifier: Apache-2.0 OR MIT
//! An interpreter of BPF instructions (RFC 9669) that works on real addresses of this process.
//!
//! It checks nothing: the programs are those that the kernel's verifier accepts, and the tables are the test's own.

use aya_obj::generated::bpf_insn;

/// Instructions that a run may take before it counts as one that does not end.
const STEPS_MAX: u64 = 100_000;

/// What a program may ask of the world around it.
pub trait World {
    /// The helper `id` with arguments R1 to R5; its result, or the way on.
    fn call(&mut self, id: i32, arguments: [u64; 5]) -> Called;
    /// What a load of four octets at `address` gives, if that is a field that the kernel rewrites to a pointer.
    fn context_field(&self, address: u64) -> Option<u64>;
}

/// How a helper ends.
pub enum Called {
    /// It gives this.
    Gives(u64),
    /// The program ends and the one with this index goes on.
    TailCall(u32),
}

/// How a program ends.
#[derive(Debug, PartialEq, Eq)]
pub enum End {
    /// With this value.
    Exit(u64),
    /// In the program with this index.
    TailCall(u32),
}

/// Runs `program` with R1 = `context`. Gives how it ends and the number of instructions executed.
pub fn run(program: &[bpf_insn], context: u64, world: &mut impl World) -> (End, u64) {
    let mut stack = vec![0_u64; 64 * 8];
    let mut regs = [0_u64; 11];
    regs[1] = context;
    regs[10] = stack.as_mut_ptr() as u64 + 512;
    let mut frames: Vec<(usize, [u64; 5])> = Vec::new();
    let (mut pc, mut count) = (0_usize, 0_u64);
    loop {
        count += 1;
        assert!(count < STEPS_MAX, "the program does not end");
        let insn = &program[pc];
        pc += 1;
        let (dst, src) = (usize::from(insn.dst_reg()), usize::from(insn.src_reg()));
        let (off, imm) = (insn.off, insn.imm);
        let by_register = insn.code & 8 != 0;
        match insn.code & 7 {
            // ALU64, ALU32
            class @ (7 | 4) => {
                let operand = if by_register { regs[src] } else { i64::from(imm) as u64 };
                let operation = insn.code & 0xf0;
                regs[dst] = if operation == 0xd0 {
                    assert!(class == 4, "no unconditional byte swap in this object");
                    swap_bytes(regs[dst], imm, by_register)
                } else if class == 7 {
                    alu64(operation, regs[dst], operand, off)
                } else {
                    u64::from(alu32(operation, regs[dst] as u32, operand as u32, off))
                };
            }
            // JMP, JMP32
            class @ (5 | 6) => match insn.code & 0xf0 {
                0x80 if src == 0 => match world.call(imm, [regs[1], regs[2], regs[3], regs[4], regs[5]]) {
                    Called::Gives(value) => regs[0] = value,
                    Called::TailCall(index) => return (End::TailCall(index), count),
                },
                0x80 => {
                    assert_eq!(src, 1, "only calls of functions of this object");
                    frames.push((pc, [regs[6], regs[7], regs[8], regs[9], regs[10]]));
                    regs[10] += 512;
                    pc = pc.checked_add_signed(imm as isize).unwrap();
                }
                0x90 => match frames.pop() {
                    None => return (End::Exit(regs[0]), count),
                    Some((back, saved)) => {
                        pc = back;
                        regs[6..].copy_from_slice(&saved);
                    }
                },
                0x00 => {
                    let by = if class == 5 { isize::from(off) } else { imm as isize };
                    pc = pc.checked_add_signed(by).unwrap();
                }
                condition => {
                    let operand = if by_register { regs[src] } else { i64::from(imm) as u64 };
                    let (a, b) = if class == 5 {
                        (regs[dst] as i64, operand as i64)
                    } else {
                        (i64::from(regs[dst] as i32), i64::from(operand as i32))
                    };
                    if holds(condition, a, b, class == 6) {
                        pc = pc.checked_add_signed(isize::from(off)).unwrap();
                    }
                }
            },
            // LD: a constant of 64 bits in two slots.
            0 => {
                assert_eq!(insn.code, 0x18, "a load that is no constant");
                let high = program[pc].imm;
                pc += 1;
                // A value in a read-only map: `imm` names the map, the other half the offset.
                regs[dst] = match src {
                    2 => match world.call(-1, [imm as u64, high as u64, 0, 0, 0]) {
                        Called::Gives(address) => address,
                        Called::TailCall(_) => unreachable!("an address"),
                    },
                    _ => u64::from(imm as u32) | u64::from(high as u32) << 32,
                };
            }
            // LDX
            1 => {
                let at = regs[src].wrapping_add_signed(i64::from(off));
                let signed = insn.code & 0xe0 == 0x80;
                regs[dst] = match world.context_field(at) {
                    Some(pointer) => pointer,
                    None => load(at, insn.code & 0x18, signed),
                };
            }
            // ST, STX
            class => {
                let at = regs[dst].wrapping_add_signed(i64::from(off));
                if insn.code & 0xe0 == 0xc0 {
                    assert_eq!(imm, 0xf1, "only compare-exchange");
                    let old = load(at, insn.code & 0x18, false);
                    if old == regs[0] {
                        store(at, insn.code & 0x18, regs[src]);
                    }
                    regs[0] = old;
                } else {
                    store(at, insn.code & 0x18, if class == 3 { regs[src] } else { i64::from(imm) as u64 });
                }
            }
        }
    }
}

fn alu64(operation: u8, a: u64, b: u64, off: i16) -> u64 {
    match operation {
        0x00 => a.wrapping_add(b),
        0x10 => a.wrapping_sub(b),
        0x20 => a.wrapping_mul(b),
        0x30 if off == 0 => a.checked_div(b).unwrap_or(0),
        0x40 => a | b,
        0x50 => a & b,
        0x60 => a << (b & 63),
        0x70 => a >> (b & 63),
        0x80 => a.wrapping_neg(),
        0x90 if off == 0 => a.checked_rem(b).unwrap_or(a),
        0xa0 => a ^ b,
        0xb0 => match off {
            0 => b,
            8 => b as i8 as u64,
            16 => b as i16 as u64,
            _ => b as i32 as u64,
        },
        0xc0 => ((a as i64) >> (b & 63)) as u64,
        other => panic!("operation {other:#x}"),
    }
}

fn alu32(operation: u8, a: u32, b: u32, off: i16) -> u32 {
    match operation {
        0x60 => a << (b & 31),
        0x70 => a >> (b & 31),
        0xc0 => ((a as i32) >> (b & 31)) as u32,
        0xb0 if off != 0 => panic!("a sign extension of 32 bits"),
        _ => alu64(operation, u64::from(a), u64::from(b), off) as u32,
    }
}

fn swap_bytes(value: u64, bits: i32, to_big: bool) -> u64 {
    match (bits, to_big) {
        (16, true) => u64::from((value as u16).swap_bytes()),
        (32, true) => u64::from((value as u32).swap_bytes()),
        (64, true) => value.swap_bytes(),
        (16, false) => u64::from(value as u16),
        (32, false) => u64::from(value as u32),
        _ => value,
    }
}

fn holds(condition: u8, a: i64, b: i64, narrow: bool) -> bool {
    let unsigned = |x: i64| if narrow { u64::from(x as u32) } else { x as u64 };
    let (ua, ub) = (unsigned(a), unsigned(b));
    match condition {
        0x10 => ua == ub,
        0x20 => ua > ub,
        0x30 => ua >= ub,
        0x40 => ua & ub != 0,
        0x50 => ua != ub,
        0x60 => a > b,
        0x70 => a >= b,
        0xa0 => ua < ub,
        0xb0 => ua <= ub,
        0xc0 => a < b,
        0xd0 => a <= b,
        other => panic!("condition {other:#x}"),
    }
}

fn load(at: u64, size: u8, signed: bool) -> u64 {
    // SAFETY: the verifier accepted the program, so it only loads from its stack, its packet and values of its maps, all of
    // which the test holds.
    unsafe {
        match (size, signed) {
            (0x10, false) => u64::from((at as *const u8).read()),
            (0x08, false) => u64::from((at as *const u16).read_unaligned()),
            (0x00, false) => u64::from((at as *const u32).read_unaligned()),
            (0x10, true) => (at as *const i8).read() as u64,
            (0x08, true) => (at as *const i16).read_unaligned() as u64,
            (0x00, true) => (at as *const i32).read_unaligned() as u64,
            _ => (at as *const u64).read_unaligned(),
        }
    }
}

fn store(at: u64, size: u8, value: u64) {
    // SAFETY: as in `load`.
    unsafe {
        match size {
            0x10 => (at as *mut u8).write(value as u8),
            0x08 => (at as *mut u16).write_unaligned(value as u16),
            0x00 => (at as *mut u32).write_unaligned(value as u32),
            _ => (at as *mut u64).write_unaligned(value),
        }
    }
}
