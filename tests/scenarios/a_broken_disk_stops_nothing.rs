// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given one appliance that forwards, with its state on a small disk of its own,
//! When the disk is full, read-only or does not answer, files on it are torn, or the document file is spoiled before a
//! restart,
//! Then it forwards, takes documents and starts as before, and says what is wrong until it is mended;
//! but a second daemon on the same state directory is refused.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::Value;
use weir_lab::{Appliance, Fabric, Process, document, requests, run, sentence, wait_until};

use crate::{PATIENCE, quiet_fabric};

/// A file system of a few pages in place of the state directory.
struct Disk(PathBuf);

impl Disk {
    fn mount(lb1: &Appliance) -> Disk {
        let dir = lb1.dir().join("state");
        fs::create_dir(&dir).expect("a folder");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k,mode=0750", "tmpfs"]).arg(&dir))
            .expect("a mount");
        Disk(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn fill(&self) {
        let mut filler = File::create(self.path("filler")).expect("a file");
        let error = loop {
            if let Err(error) = filler.write_all(&[0; 512]) {
                break error;
            }
        };
        assert_eq!(error.raw_os_error(), Some(libc::ENOSPC));
    }

    fn free(&self) {
        fs::remove_file(self.path("filler")).expect("the filler is there");
    }

    fn make_read_only(&self) {
        run(Command::new("mount").args(["-o", "remount,ro"]).arg(&self.0)).expect("a remount");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Else the lab's folder could not be removed; the set's end takes it away in any case.
        run(Command::new("umount").arg("--lazy").arg(&self.0)).ok();
    }
}

/// One appliance that is announced, with its state on a disk of its own. The disk goes first.
fn fabric() -> (Disk, Fabric) {
    let mut fabric = quiet_fabric();
    let disk = Disk::mount(&fabric.appliances[0]);
    fabric.start_agents().expect("agents");
    fabric.appliances[0].start().expect("it starts");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    fabric.wait_usable(PATIENCE).expect("both backends are known to be well");
    (disk, fabric)
}

fn forwards(fabric: &Fabric) {
    let tally = requests(&fabric.client, &document::targets(), 100).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
}

/// The sentence of a condition that is raised now, if it is.
fn raised(lb1: &Appliance, code: &str) -> Result<Option<String>> {
    Ok(sentence(&lb1.status()?, code).map(str::to_owned))
}

/// Waits for a condition in the status; it is in the log too.
fn wait_raised(lb1: &Appliance, code: &str) -> String {
    let said = wait_until(&format!("`{code}` to be raised"), PATIENCE, || {
        raised(lb1, code)?.ok_or_else(|| anyhow::anyhow!("it is not"))
    })
    .expect("said");
    let log = lb1.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let lines: Vec<Value> = lines.filter(|line| line["code"] == code).collect();
    assert!(
        lines.iter().any(|line| line["message"] == "condition raised" && line["why"] == said),
        "{lines:?}"
    );
    said
}

fn wait_cleared(lb1: &Appliance, code: &str) {
    wait_until(&format!("`{code}` to be cleared"), PATIENCE, || {
        let raised = raised(lb1, code)?;
        ensure!(raised.is_none(), "{raised:?}");
        Ok(())
    })
    .expect("cleared");
}

fn generation(lb1: &Appliance) -> Result<u64> {
    let status = lb1.status()?;
    let generation = status["document"]["applied_generation"].as_u64();
    generation.ok_or_else(|| anyhow::anyhow!("no generation in {status}"))
}

/// Tells the daemon to read its document, which is another one now, and waits until it is in force.
fn reload(lb1: &Appliance, expected: u64) {
    lb1.signal(libc::SIGHUP).expect("a signal");
    wait_until("the new document to be in force", PATIENCE, || {
        let now = generation(lb1)?;
        ensure!(now == expected, "generation {now}");
        Ok(())
    })
    .expect("reloaded");
}

/// Makes another document of the one that is there.
fn weigh(lb1: &Appliance, backend: &str) {
    let section = format!("[pools.web4.backends.{backend}]\n");
    lb1.edit_document(&section, &format!("{section}weight = 50\n")).expect("the section is there");
}

fn kept_generation(disk: &Disk) -> Result<String> {
    let text = fs::read_to_string(disk.path("document.toml"))?;
    let head = text.lines().next().unwrap_or_default().to_owned();
    Ok(head)
}

fn entries(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("the folder").filter_map(Result::ok);
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
#[ignore = "needs root and netns"]
fn a_full_disk_is_said_and_heals_by_itself() {
    let (disk, mut fabric) = fabric();
    assert_eq!(generation(&fabric.appliances[0]).expect("status"), 1);
    disk.fill();
    weigh(&fabric.appliances[0], "b1");
    reload(&fabric.appliances[0], 2);
    let said = wait_raised(&fabric.appliances[0], "state-not-kept");
    assert!(said.contains("document.toml") && said.contains("No space left"), "{said}");
    forwards(&fabric);
    assert!(kept_generation(&disk).expect("the file before").contains("\"generation\":1,"));

    // An override holds as well, and the answer says what that is worth.
    let drained = fabric.appliances[0].ask(&["drain", "web4/b2", "--reason", "disk", "--output", "json"]);
    let drained = drained.expect("weir drain");
    assert_eq!(drained.code, Some(0), "{drained:?}");
    let set: Value = serde_json::from_str(&drained.said).expect("one JSON object");
    assert_eq!(set["persisted"], false, "{set}");
    fabric.appliances[0].wait_backend("web4", "b2", "draining", PATIENCE).expect("drained");
    assert!(!disk.path("overrides.json").exists(), "{:?}", entries(&disk.0));
    forwards(&fabric);

    disk.free();
    wait_cleared(&fabric.appliances[0], "state-not-kept");
    assert!(kept_generation(&disk).expect("the new file").contains("\"generation\":2,"));
    fabric.appliances[0].kill().expect("it dies");
    fabric.appliances[0].start().expect("it starts again");
    assert_eq!(generation(&fabric.appliances[0]).expect("status"), 2);
    fabric.appliances[0].wait_backend("web4", "b2", "draining", PATIENCE).expect("still drained");
}

#[test]
#[ignore = "needs root and netns"]
fn a_read_only_disk_keeps_neither_reload_nor_start_from_working() {
    let (disk, mut fabric) = fabric();
    disk.make_read_only();
    weigh(&fabric.appliances[0], "b1");
    reload(&fabric.appliances[0], 2);
    let said = wait_raised(&fabric.appliances[0], "state-not-kept");
    assert!(said.contains("Read-only"), "{said}");
    forwards(&fabric);

    fabric.appliances[0].kill().expect("it dies");
    fabric.appliances[0].start().expect("it starts on a read-only disk");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    wait_raised(&fabric.appliances[0], "state-not-kept");
    forwards(&fabric);
}

#[test]
#[ignore = "needs root and netns"]
fn a_disk_that_does_not_answer_is_not_waited_for() {
    let (disk, mut fabric) = fabric();
    // Opening it for writing blocks until somebody reads, as a dying disk does.
    run(Command::new("mkfifo").arg(disk.path(".document.toml.new"))).expect("a pipe");
    weigh(&fabric.appliances[0], "b1");
    reload(&fabric.appliances[0], 2);
    let said = wait_raised(&fabric.appliances[0], "state-not-kept");
    assert!(said.contains("has not answered for 3 s"), "{said}");
    let drained = fabric.appliances[0].ask(&["drain", "web4/b2"]).expect("weir drain");
    assert_eq!(drained.code, Some(0), "{drained:?}");
    fabric.appliances[0].wait_backend("web4", "b2", "draining", PATIENCE).expect("drained");
    forwards(&fabric);
    let status = fabric.appliances[0].stop().expect("it stops in time");
    assert_eq!(status.code(), Some(0));
}

#[test]
#[ignore = "needs root and netns"]
fn torn_files_are_moved_aside() {
    let (disk, mut fabric) = fabric();
    weigh(&fabric.appliances[0], "b1");
    reload(&fabric.appliances[0], 2);
    fabric.appliances[0].kill().expect("it dies");
    for name in ["document.toml", "history.json", "overrides.json", "health.json"] {
        let whole = fs::read(disk.path(name)).unwrap_or_else(|_| b"{\"format\":1,".to_vec());
        fs::write(disk.path(name), &whole[..whole.len() / 2]).expect("a torn file");
    }
    fabric.appliances[0].start().expect("it starts");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    forwards(&fabric);
    let said = wait_raised(&fabric.appliances[0], "state-file-bad");
    for name in ["document.toml", "history.json", "overrides.json"] {
        assert!(said.contains(&format!("{name}.bad-")), "{name}: {said}");
        let prefix = format!("{name}.bad-");
        assert!(entries(&disk.0).iter().any(|entry| entry.starts_with(&prefix)), "{:?}", entries(&disk.0));
    }
    // The file before told generation 1, and this is another document.
    assert_eq!(generation(&fabric.appliances[0]).expect("status"), 2);
}

#[test]
#[ignore = "needs root and netns"]
fn a_spoiled_document_file_starts_the_last_accepted_one() {
    let (_disk, mut fabric) = fabric();
    weigh(&fabric.appliances[0], "b1");
    reload(&fabric.appliances[0], 2);
    let good = fs::read_to_string(fabric.appliances[0].document_path()).expect("the document");
    fabric.appliances[0].kill().expect("it dies");
    fabric.appliances[0].write_document(&good.replace("port = 80\n", "port = 0\n")).expect("written");
    fabric.appliances[0].start().expect("it starts");
    fabric.wait_routes(&[1], PATIENCE).expect("announced");
    forwards(&fabric);
    let said = wait_raised(&fabric.appliances[0], "document-file-bad");
    assert!(said.contains("port") && said.contains("generation 2 is in force"), "{said}");

    fabric.appliances[0].write_document(&good).expect("written");
    weigh(&fabric.appliances[0], "b2");
    reload(&fabric.appliances[0], 3);
    wait_cleared(&fabric.appliances[0], "document-file-bad");
}

#[test]
#[ignore = "needs root and netns"]
fn a_second_daemon_on_the_same_state_is_refused() {
    let (disk, fabric) = fabric();
    let lb1 = &fabric.appliances[0];
    let text = fs::read_to_string(lb1.document_path()).expect("the document");
    let other = text.replace("instance = \"lb1\"", "instance = \"other\"").replace("api.sock", "other.sock");
    let path = lb1.dir().join("other.toml");
    fs::write(&path, other).expect("written");
    let before = entries(&disk.0);
    let mut command = lb1.weir(&["run", "--config"]);
    command.arg(&path);
    let mut second =
        Process::spawn("a second weir", &mut command, &fabric.logs.file("second.log")).expect("starts");
    let status = second.wait(PATIENCE).expect("it ends by itself");
    assert_eq!(status.code(), Some(1), "{}", second.log());
    assert!(second.log().contains("another process uses the state directory"), "{}", second.log());
    assert_eq!(entries(&disk.0), before);
    forwards(&fabric);
}
