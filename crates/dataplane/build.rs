// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Builds the kernel objects from `weir-dataplane-ebpf` with the toolchain of the outer build, or takes ready ones from the
//! folder that `WEIR_EBPF_PREBUILT` names (then neither rust-src nor bpf-linker is needed).

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Kernel objects: one binary each of `weir-dataplane-ebpf`.
const OBJECTS: [&str; 3] = ["appliance", "agent", "bench"];

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../..");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    println!("cargo:rerun-if-env-changed=WEIR_EBPF_PREBUILT");
    println!("cargo:rerun-if-env-changed=PATH");
    for watched in ["crates/dataplane-ebpf", "crates/dataplane-core", "Cargo.toml"] {
        println!("cargo:rerun-if-changed={}", root.join(watched).display());
    }
    let built = match env::var_os("WEIR_EBPF_PREBUILT") {
        Some(folder) => PathBuf::from(folder),
        None => build(&root, &out),
    };
    for object in OBJECTS {
        let from = built.join(object);
        std::fs::copy(&from, out.join(format!("{object}.bpf")))
            .unwrap_or_else(|error| panic!("kernel object {}: {error}", from.display()));
    }
}

/// Compiles the objects and gives the folder they lie in.
fn build(root: &Path, out: &Path) -> PathBuf {
    let target = out.join("bpf");
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it");
    // Through rustup, since the inner build needs the standard library's sources of the very same toolchain.
    let mut command = match env::var("RUSTUP_TOOLCHAIN") {
        Ok(toolchain) => {
            let mut command = Command::new("rustup");
            command.args(["run", &toolchain, "cargo"]);
            command
        }
        Err(_) => Command::new("cargo"),
    };
    command.args(["build", "--locked", "--profile", "bpf", "--features", "kernel", "--bins"]);
    command.args(["-Z", "build-std=core", "--target", "bpfel-unknown-none", "--manifest-path"]);
    command.arg(root.join("crates/dataplane-ebpf/Cargo.toml"));
    command.arg("--target-dir").arg(&target);
    let mut flags = vec![
        format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // ISA v3 (32-bit arithmetic, returning atomics): every kernel from the floor, 6.1, takes it.
        "-Ctarget-cpu=v3".into(),
    ];
    // BTF carries source paths; without these the object would differ from one build machine to the next.
    if let Ok(absolute) = root.canonicalize() {
        flags.push(format!("--remap-path-prefix={}=.", absolute.display()));
    }
    for (variable, name) in [("CARGO_HOME", "cargo"), ("RUSTUP_HOME", "rustup")] {
        let fallback = env::var_os("HOME").map(|home| PathBuf::from(home).join(format!(".{name}")));
        if let Some(folder) = env::var_os(variable).map(PathBuf::from).or(fallback) {
            flags.push(format!("--remap-path-prefix={}=/{name}", folder.display()));
        }
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // `build-std` is an unstable flag; the switch holds for the inner build alone.
    command.env("RUSTC_BOOTSTRAP", "1");
    for variable in [
        "RUSTC",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO",
        "CARGO_BUILD_TARGET",
        "RUSTFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(variable);
    }
    let status = command.status().expect("start cargo for the kernel objects");
    assert!(
        status.success(),
        "the kernel objects did not build: they need the pinned toolchain's rust-src and bpf-linker (scripts/setup.sh), \
         or set WEIR_EBPF_PREBUILT to a folder with ready objects"
    );
    target.join("bpfel-unknown-none/bpf")
}
