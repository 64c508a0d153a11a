// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The appliance's programs with tables in memory, and one frame at a time.

use std::collections::{BTreeMap, HashMap, HashSet};

use aya_obj::generated::bpf_insn;
use aya_obj::{Object, maps::Map};
use weir_dataplane_core::names;

use super::interpreter::{Called, End, World, run};

/// Octets in front of a frame, as in XDP.
const HEADROOM: usize = 256;
/// Interface that frames come in by.
pub const INGRESS: u32 = 7;
/// `enum xdp_action`.
const XDP_REDIRECT: u64 = 4;

/// The programs and their tables.
pub struct Machine {
    programs: HashMap<String, Vec<bpf_insn>>,
    /// By fake descriptor.
    maps: Vec<Table>,
    context: Box<[u32; 8]>,
    frame: Vec<u8>,
    start: usize,
    helpers: BTreeMap<i32, u64>,
}

struct Table {
    name: String,
    key_size: usize,
    value_size: usize,
    entries: usize,
    kind: u32,
    /// Values of arrays; only what was set, of large ones.
    values: HashMap<usize, Box<[u8]>>,
    /// Values of hashes and tries by key. Of a trie only whole keys are found, so prefixes are put in as what is looked for.
    keys: HashMap<Vec<u8>, Box<[u8]>>,
}

/// What a frame cost.
#[derive(Debug)]
pub struct Run {
    /// XDP action.
    pub action: u64,
    /// Instructions executed, helpers one each.
    pub instructions: u64,
    /// Names of the programs that ran.
    pub programs: Vec<String>,
    /// Helper id to calls, of helpers that the kernel really calls: lookups in arrays are inlined.
    pub helpers: BTreeMap<i32, u64>,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

impl Machine {
    /// The object's programs; `globals` are set as the loader would.
    pub fn new(object: &[u8], globals: &[(&str, &[u8])]) -> Self {
        let mut object = Object::parse(object).unwrap();
        object.patch_map_data(globals.iter().map(|(name, data)| (*name, (*data, true))).collect()).unwrap();
        let mut maps: Vec<(String, Map)> = object.maps.drain().collect();
        maps.sort_by(|a, b| a.0.cmp(&b.0));
        let text: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
        object
            .relocate_maps(maps.iter().zip(0..).map(|((name, map), fd)| (name.as_str(), fd, map)), &text)
            .unwrap();
        object.relocate_calls(&text).unwrap();
        let programs = object.programs.iter().map(|(name, program)| {
            (name.clone(), object.functions[&program.function_key()].instructions.clone())
        });
        let programs = programs.collect();
        let maps = maps.into_iter().map(|(name, map)| Table::new(name, &map)).collect();
        Self {
            programs,
            maps,
            context: Box::new([0; 8]),
            frame: Vec::new(),
            start: 0,
            helpers: BTreeMap::new(),
        }
    }

    /// Writes entry `index` of the array `map`.
    pub fn set<T: Copy>(&mut self, map: &str, index: usize, value: T) {
        // SAFETY: the types of tables are plain bytes without padding.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const value).cast::<u8>(), size_of::<T>()) };
        let table = self.maps.iter_mut().find(|table| table.name == map).unwrap();
        assert_eq!(table.value_size, bytes.len(), "{map}");
        table.values.insert(index, bytes.into());
    }

    /// Puts `value` under `key` into the hash or trie `map`.
    pub fn insert(&mut self, map: &str, key: &[u8], value: u32) {
        let table = self.maps.iter_mut().find(|table| table.name == map).unwrap();
        assert_eq!((table.key_size, table.value_size), (key.len(), size_of::<u32>()), "{map}");
        table.keys.insert(key.to_vec(), value.to_ne_bytes().into());
    }

    /// Entry `index` of the array `map`.
    pub fn get<T: Copy>(&mut self, map: &str, index: usize) -> T {
        let table = self.maps.iter_mut().find(|table| table.name == map).unwrap();
        assert_eq!(table.value_size, size_of::<T>(), "{map}");
        // SAFETY: as in `set`.
        unsafe { (table.value(index) as *const T).read_unaligned() }
    }

    /// Runs the appliance's first program over `frame`, and what it goes on to.
    pub fn run(&mut self, frame: &[u8]) -> Run {
        self.run_from(names::PROGRAM_INGRESS, frame)
    }

    /// Runs the program `first` over `frame`, and what it goes on to.
    pub fn run_from(&mut self, first: &str, frame: &[u8]) -> Run {
        self.frame = vec![0; HEADROOM];
        self.frame.extend_from_slice(frame);
        self.start = HEADROOM;
        self.context[3] = INGRESS;
        self.helpers.clear();
        let mut name = first.to_owned();
        let (mut instructions, mut programs) = (0, Vec::new());
        loop {
            let program = self.programs[&name].clone();
            programs.push(name);
            let context = self.context.as_ptr() as u64;
            let (end, count) = run(&program, context, self);
            instructions += count;
            match end {
                End::TailCall(index) => name = names::STEPS[index as usize].to_owned(),
                End::Exit(action) => {
                    let (helpers, frame) = (self.helpers.clone(), self.frame[self.start..].to_vec());
                    return Run { action: action & 0xffff_ffff, instructions, programs, helpers, frame };
                }
            }
        }
    }
}

impl Table {
    fn new(name: String, map: &Map) -> Self {
        let data = map.data();
        let mut table = Self {
            name,
            key_size: map.key_size() as usize,
            value_size: map.value_size() as usize,
            entries: map.max_entries() as usize,
            kind: map.map_type(),
            values: HashMap::new(),
            keys: HashMap::new(),
        };
        if !data.is_empty() {
            table.values.insert(0, data.into());
        }
        table
    }

    /// Address of entry `index`, 0 if there is none.
    fn value(&mut self, index: usize) -> u64 {
        if index >= self.entries {
            return 0;
        }
        let zeros = || vec![0; self.value_size].into_boxed_slice();
        self.values.entry(index).or_insert_with(zeros).as_mut_ptr() as u64
    }
}

impl World for Machine {
    fn call(&mut self, id: i32, [a, b, c, _, _]: [u64; 5]) -> Called {
        const ARRAYS: [u32; 2] = [2, 6];
        if id > 1 {
            *self.helpers.entry(id).or_default() += 1;
        }
        Called::Gives(match id {
            // Not a helper: the address of a constant.
            -1 => self.maps[a as usize].value(0) + b,
            // bpf_map_lookup_elem
            1 => {
                let table = &mut self.maps[a as usize];
                if ARRAYS.contains(&table.kind) {
                    // SAFETY: keys of arrays are four octets on the program's stack.
                    let index = unsafe { (b as *const u32).read_unaligned() };
                    table.value(index as usize)
                } else {
                    *self.helpers.entry(1).or_default() += 1;
                    // SAFETY: the verifier accepted the program, so its key has the octets of the map's keys.
                    let key = unsafe { std::slice::from_raw_parts(b as *const u8, table.key_size) };
                    table.keys.get_mut(key).map_or(0, |value| value.as_mut_ptr() as u64)
                }
            }
            // bpf_tail_call
            12 => return Called::TailCall(c as u32),
            // bpf_xdp_adjust_head
            44 => {
                self.start = self.start.checked_add_signed(b as i32 as isize).unwrap();
                0
            }
            // bpf_redirect_map
            51 => XDP_REDIRECT,
            // bpf_jiffies64
            118 => 0,
            // bpf_xdp_get_buff_len
            188 => (self.frame.len() - self.start) as u64,
            other => panic!("helper {other} is not known here"),
        })
    }

    fn context_field(&self, address: u64) -> Option<u64> {
        let base = self.context.as_ptr() as u64;
        match address.wrapping_sub(base) {
            0 | 8 => Some(self.frame.as_ptr() as u64 + self.start as u64),
            4 => Some(self.frame.as_ptr() as u64 + self.frame.len() as u64),
            _ => None,
        }
    }
}
