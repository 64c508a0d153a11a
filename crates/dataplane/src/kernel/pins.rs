// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The pin directory of one instance: `<instance>/v<ABI_VERSION>/`, and what may be adopted from it.

use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aya::maps::MapData;
use weir_dataplane_core::ABI_VERSION;

use super::standing::{self, Place};
use super::unlink::unlink;

/// `BPF_FS_MAGIC` (include/uapi/linux/magic.h).
const BPF_FS_MAGIC: u64 = 0xcafe_4a11;

/// Why the pins cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// Pins of another layout lie there.
    #[error(
        "{found} holds pins of another layout version; this build uses v{ABI_VERSION}. Stop the daemon that made them and \
         detach it with its own version (`weir run` removes its pins on SIGTERM), or remove the directory to let its \
         traffic go"
    )]
    OtherVersion {
        /// The directory found.
        found: PathBuf,
    },
    /// Programs, maps and links can only be pinned on a bpf file system.
    #[error(
        "{path} is not on a bpf file system: mount one there (`mount -t bpf bpf /sys/fs/bpf`) or name another pin directory"
    )]
    NotBpffs {
        /// The directory, or the nearest one above it that exists.
        path: PathBuf,
    },
    /// A map is there with another shape.
    #[error(
        "pinned map {path} has {found}, this version with this configuration wants {wanted}: stop the daemon that made it \
         cleanly (SIGTERM) before changing capacities or versions"
    )]
    OtherShape {
        /// The pin.
        path: PathBuf,
        /// Its shape.
        found: MapShape,
        /// The shape wanted.
        wanted: MapShape,
    },
    /// The file system refused.
    #[error("{action} {path}")]
    Io {
        /// What was attempted.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is on a side of an interface could not be taken off.
    #[error(transparent)]
    Standing(Box<standing::StandingError>),
    /// A pinned map could not be opened or read.
    #[error("open pinned map {path}")]
    Map {
        /// The pin.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Box<aya::maps::MapError>,
    },
}

/// What two users of one map must agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MapShape {
    /// Key size in bytes.
    pub key: u32,
    /// Value size in bytes.
    pub value: u32,
    /// Number of entries.
    pub entries: u32,
    /// Creation flags.
    pub flags: u32,
}

impl std::fmt::Display for MapShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { key, value, entries, flags } = self;
        write!(f, "{entries} entries of {key} to {value} bytes, flags {flags:#x}")
    }
}

/// The pin directory of one instance and layout version.
#[derive(Debug, Clone)]
pub struct Pins {
    instance: PathBuf,
    folder: PathBuf,
}

impl Pins {
    /// Opens (or makes, mode 0700) the directory of `instance`.
    ///
    /// # Errors
    /// [`PinsError::OtherVersion`] when another version's pins lie beside, [`PinsError::Io`].
    pub fn open(instance: &Path) -> Result<Self, PinsError> {
        let folder = instance.join(format!("v{ABI_VERSION}"));
        on_bpffs(instance)?;
        no_other_version(instance, &folder)?;
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(io("make directory", &folder))?;
        for path in [instance, &folder] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .map_err(io("chmod", path))?;
        }
        Ok(Self { instance: instance.to_owned(), folder })
    }

    /// The directory of `instance` as it is; nothing is made.
    ///
    /// # Errors
    /// [`PinsError::OtherVersion`] when another version's pins lie there, [`PinsError::Io`].
    pub fn existing(instance: &Path) -> Result<Self, PinsError> {
        let folder = instance.join(format!("v{ABI_VERSION}"));
        on_bpffs(instance)?;
        no_other_version(instance, &folder)?;
        Ok(Self { instance: instance.to_owned(), folder })
    }

    /// No directory: what a private copy has, of which nothing is pinned.
    pub fn nowhere() -> Self {
        Self { instance: PathBuf::new(), folder: PathBuf::new() }
    }

    /// Whether this is [`Self::nowhere`].
    pub fn is_nowhere(&self) -> bool {
        self.folder.as_os_str().is_empty()
    }

    /// Where the object called `name` is pinned.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Names of all pins that start with `prefix`.
    ///
    /// # Errors
    /// [`PinsError::Io`].
    pub fn names(&self, prefix: &str) -> Result<Vec<String>, PinsError> {
        let io = |source| PinsError::Io { action: "list", path: self.folder.clone(), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(io)? {
            let name = entry.map_err(io)?.file_name().to_string_lossy().into_owned();
            if name.starts_with(prefix) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Whether a map is pinned under `name`; if so it must have the `wanted` shape.
    ///
    /// # Errors
    /// [`PinsError::OtherShape`], [`PinsError::Map`].
    pub fn check_map(&self, name: &str, wanted: MapShape) -> Result<bool, PinsError> {
        let path = self.path(name);
        if !path.exists() {
            return Ok(false);
        }
        let info = MapData::from_pin(&path)
            .and_then(|map| map.info())
            .map_err(|source| PinsError::Map { path: path.clone(), source: Box::new(source) })?;
        let found = MapShape {
            key: info.key_size(),
            value: info.value_size(),
            entries: info.max_entries(),
            flags: info.map_flags(),
        };
        if found != wanted {
            return Err(PinsError::OtherShape { path, found, wanted });
        }
        Ok(true)
    }

    /// Removes every pin and the directories.
    ///
    /// # Errors
    /// [`PinsError::Io`] for the first that could not be removed; the others are removed all the same.
    pub fn remove(&self) -> Result<(), PinsError> {
        let mut first = None;
        for name in self.names("")? {
            let path = self.path(&name);
            if let Err(source) = std::fs::remove_file(&path) {
                first.get_or_insert(PinsError::Io { action: "remove", path, source });
            }
        }
        for path in [&self.folder, &self.instance] {
            if let Err(source) = std::fs::remove_dir(path) {
                first.get_or_insert(PinsError::Io { action: "remove", path: path.clone(), source });
            }
        }
        first.map_or(Ok(()), Err)
    }
}

/// Takes every link of `instance` off its interface and removes all its pins, those of other layout versions too. Returns
/// how many links there were.
///
/// Only for an instance that no process runs: whoever calls this holds its lock.
///
/// # Errors
/// [`PinsError::NotBpffs`], or [`PinsError::Io`] for the first pin that could not be removed. When a link could not be taken
/// off, the tables stay for the program that still runs.
pub fn remove_instance(instance: &Path) -> Result<usize, PinsError> {
    on_bpffs(instance)?;
    let mut links = 0;
    for folder in folders(instance)? {
        let pins = Pins { instance: instance.to_owned(), folder };
        for name in pins.names("link_")? {
            let path = pins.path(&name);
            unlink(&path).map_err(io("detach", &path))?;
            links += 1;
        }
        // After the programs that hand over to them.
        standing::detach_others(&Place::CLONES, &pins, &[])
            .map_err(|error| PinsError::Standing(Box::new(error)))?;
        for name in pins.names("")? {
            let path = pins.path(&name);
            std::fs::remove_file(&path).map_err(io("remove", &path))?;
        }
        std::fs::remove_dir(&pins.folder).map_err(io("remove", &pins.folder))?;
    }
    Ok(links)
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PinsError + use<> {
    let path = path.to_owned();
    move |source| PinsError::Io { action, path, source }
}

fn on_bpffs(instance: &Path) -> Result<(), PinsError> {
    let existing = instance.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let kind = rustix::fs::statfs(existing).map_err(|error| io("look at", existing)(error.into()))?;
    if kind.f_type as u64 == BPF_FS_MAGIC {
        return Ok(());
    }
    Err(PinsError::NotBpffs { path: existing.to_owned() })
}

fn no_other_version(instance: &Path, ours: &Path) -> Result<(), PinsError> {
    match folders(instance)?.into_iter().find(|path| path != ours) {
        Some(found) => Err(PinsError::OtherVersion { found }),
        None => Ok(()),
    }
}

/// The folders in that of `instance`, one a layout version; none if there is no such instance.
fn folders(instance: &Path) -> Result<Vec<PathBuf>, PinsError> {
    if !instance.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(instance).map_err(io("list", instance))? {
        let path = entry.map_err(io("list", instance))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}
