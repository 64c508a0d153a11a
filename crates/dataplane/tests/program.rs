// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loaded program, packet by packet: root only, on a private bpffs (`scripts/isolated.sh`).

#![expect(unreachable_pub, reason = "modules of one test binary")]
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "helpers of tests")]

mod support;

mod program {
    mod attach;
    mod check_lab;
    mod checks;
    mod clones;
    mod clones_live;
    mod differential;
    mod fixtures;
    mod floods;
    mod fragments;
    mod headers;
    mod icmp;
    mod lifecycle;
    mod losses;
    mod modes;
    mod next_hops;
    mod probe;
    mod room;
    mod rows;
    mod scale;
    mod selection;
    mod size;
    mod sweep;
    mod tables;
    mod too_big;
    mod verify;
}
