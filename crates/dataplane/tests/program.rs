// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The loaded program, packet by packet: root only, on a private bpffs (`scripts/isolated.sh`).

mod support;

mod program {
    mod lifecycle;
}
