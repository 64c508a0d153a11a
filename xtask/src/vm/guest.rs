// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a guest is made of: programs of this machine's Debian packages, the workspace at the path that it has here (test
//! binaries carry it), test binaries without debug information, and the kernel's modules.
//!
//! Everything lies in the initial file system, thus in memory: no disk, no network, nothing shared with this machine.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::cpio::Tree;
use super::kernel::Kernel;
use crate::run;

/// Packages whose files the guest has; `scripts/setup.sh vm` installs them.
const PACKAGES: [&str; 15] = [
    "bash",
    "dash",
    "coreutils",
    "util-linux",
    "util-linux-extra",
    "mount",
    "grep",
    "sed",
    "findutils",
    "hostname",
    "procps",
    "kmod",
    "iproute2",
    "ethtool",
    "tcpdump",
];

/// Folders of packages that no program reads.
const NOT_NEEDED: [&str; 6] = [
    "/usr/share/doc/",
    "/usr/share/man/",
    "/usr/share/locale/",
    "/usr/share/info/",
    "/usr/share/lintian/",
    "/usr/share/bash-completion/",
];

/// Who is who, and which programs stand behind general names.
const FILES: [&str; 6] =
    ["/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/protocols", "/usr/bin/awk", "/usr/bin/nc"];

/// Modules that namespaces, tunnels and tests can ask for: all of these folders, and nothing of hardware.
const MODULES: [&str; 9] = [
    "kernel/net",
    "kernel/lib",
    "kernel/crypto",
    "kernel/arch",
    "kernel/drivers/net/veth.ko",
    "kernel/drivers/net/dummy.ko",
    "kernel/drivers/net/vrf.ko",
    "kernel/drivers/net/macvlan.ko",
    "kernel/drivers/net/bonding",
];

/// One test binary in the guest.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// How the result table calls it.
    pub(crate) name: String,
    /// The test binary; the guest has it at the same path.
    pub(crate) program: PathBuf,
    /// Programs that its tests start, at the same path too.
    pub(crate) beside: Vec<PathBuf>,
    /// Where it is run.
    pub(crate) folder: PathBuf,
    /// Exact names of the tests.
    pub(crate) tests: Vec<String>,
    /// `NAME=value`, separated by blanks.
    pub(crate) environment: String,
    /// Seconds after which it is ended.
    pub(crate) seconds: u64,
}

/// Everything but modules: one tree for all kernels.
pub(crate) fn tree(runs: &[Run], scratch: &Path) -> Result<Tree> {
    let mut tree = Tree::default();
    let mut files: Vec<PathBuf> = Vec::new();
    for folder in ["/dev", "/proc", "/sys", "/run", "/tmp", "/root", "/var/log", "/var/lib", "/var/tmp"] {
        tree.folder(Path::new(folder));
    }
    let listed = run::output(Command::new("dpkg").arg("-L").args(PACKAGES))?;
    for path in listed.lines().chain(FILES).filter(|path| path.len() > 2 && path.starts_with('/')) {
        if !NOT_NEEDED.iter().any(|folder| path.starts_with(folder)) && Path::new(path).exists() {
            files.extend(tree.mirror(Path::new(path))?);
        }
    }
    let binaries: BTreeSet<&PathBuf> =
        runs.iter().flat_map(|run| run.beside.iter().chain([&run.program])).collect();
    for library in libraries(files.iter().chain(binaries.iter().copied()))? {
        tree.mirror(&library)?;
    }
    let root = run::root();
    let tracked = run::output(Command::new("git").args(["ls-files", "-z"]).current_dir(&root))?;
    for path in tracked.split('\0').filter(|path| !path.is_empty()) {
        let path = root.join(path);
        if path.is_file() {
            tree.copy(&path, &path);
        }
    }
    for (number, binary) in binaries.into_iter().enumerate() {
        let stripped = scratch.join(format!("stripped-{number}"));
        run::run(Command::new("strip").args(["--strip-debug", "-o"]).arg(&stripped).arg(binary))?;
        tree.copy(binary, &stripped);
    }
    let mut table = String::new();
    for (number, run) in runs.iter().enumerate() {
        let list = format!("/vm/tests-{number}");
        let Run { name, seconds, environment, .. } = run;
        let (folder, program) = (run.folder.display(), run.program.display());
        table += &format!("{name}\t{seconds}\t{folder}\t{program}\t{environment}\t{list}\n");
        tree.text(Path::new(&list), run.tests.join("\n") + "\n", 0o644);
    }
    tree.text(Path::new("/vm/runs"), table, 0o644);
    let init = std::fs::read_to_string(root.join("tests/vm/init")).context("read tests/vm/init")?;
    let workspace = format!("export WORKSPACE='{}'\nexport PATH=", root.display());
    tree.text(Path::new("/init"), init.replacen("export PATH=", &workspace, 1), 0o755);
    Ok(tree)
}

/// Writes the guest's initial file system for `kernel`: the common part, then the modules. Archives may follow each other.
pub(crate) fn image(common: &Tree, kernel: &Kernel, scratch: &Path) -> Result<PathBuf> {
    let staged = scratch.join(format!("modules-{}", kernel.line));
    if staged.exists() {
        std::fs::remove_dir_all(&staged)?;
    }
    let at = Path::new("/lib/modules").join(&kernel.release);
    let library = staged.join(at.strip_prefix("/").context("it is absolute")?);
    std::fs::create_dir_all(&library)?;
    // Some builds compress them, and some have no such folder.
    let present = MODULES.iter().flat_map(|entry| [(*entry).to_owned(), format!("{entry}.xz")]);
    let present = present.filter(|entry| kernel.modules.join(entry).exists());
    let mut copy = Command::new("cp");
    run::run(copy.args(["-a", "--parents", "-t"]).arg(&library).args(present).current_dir(&kernel.modules))?;
    for index in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        std::fs::copy(kernel.modules.join(index), library.join(index))?;
    }
    run::run(Command::new("depmod").arg("-b").arg(&staged).arg(&kernel.release))?;
    let mut modules = Tree::default();
    // `/lib` is a link where the guest's programs come from a merged system.
    let merged = Path::new("/lib").is_symlink();
    let to = if merged { Path::new("/usr").join(at.strip_prefix("/")?) } else { at };
    modules.graft(&to, &library)?;
    let path = scratch.join(format!("initrd-{}.cpio", kernel.line));
    let mut out = BufWriter::new(File::create(&path).with_context(|| format!("make {}", path.display()))?);
    common.write(&mut out)?;
    modules.write(&mut out)?;
    out.flush()?;
    Ok(path)
}

/// Shared libraries that these files load, with the loader itself.
fn libraries<'f>(files: impl Iterator<Item = &'f PathBuf>) -> Result<BTreeSet<PathBuf>> {
    let mut command = Command::new("ldd");
    let mut any = false;
    for file in files {
        let is_library = file.to_string_lossy().contains(".so");
        let mode =
            std::fs::metadata(file).with_context(|| format!("look at {}", file.display()))?.permissions();
        if (is_library || mode.mode() & 0o111 != 0) && is_elf(file)? {
            command.arg(file);
            any = true;
        }
    }
    if !any {
        return Ok(BTreeSet::new());
    }
    // It fails for a static program, and says so among the lines.
    let output = command.output().context("start ldd")?;
    Ok(loaded(&String::from_utf8_lossy(&output.stdout)))
}

fn is_elf(file: &Path) -> Result<bool> {
    use std::io::Read as _;
    let mut head = [0; 4];
    let mut file = File::open(file).with_context(|| format!("open {}", file.display()))?;
    Ok(file.read_exact(&mut head).is_ok() && head == *b"\x7fELF")
}

/// Paths of `ldd`'s lines `name => path (address)` and `path (address)`.
fn loaded(text: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let (before, _) = line.strip_prefix('\t')?.rsplit_once(" (0x")?;
        let path = before.split_once(" => ").map_or(before, |(_, path)| path);
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_ldd_are_read() {
        let text = "/usr/bin/ip:\n\tlinux-vdso.so.1 (0x00007ffc)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tnot a dynamic executable\n\tliba.so => not found\n";
        let want = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(loaded(text), BTreeSet::from(want));
    }
}
