// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The resolver against a real kernel: each test has a network namespace of its own and a router in another.
//!
//! ```text
//!  test thread's namespace            router's namespace
//!  up0 10.7.0.2/24 ═══════ veth ═══════ down0 10.7.0.1/24, 10.7.0.3/24
//!      fd07::2/64                            fd07::1/64
//! ```

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use weir_lab::{fair, slowness};

use super::*;

/// Longest wait for anything the kernel does in these tests (a neighbour fails after 3 s).
const PATIENCE: Duration = Duration::from_secs(10);
/// What "within milliseconds" may mean on a machine that compiles something else at the same time.
const PROMPT: Duration = Duration::from_millis(250);

/// The kernel tells of a lost carrier at most once a second (`linkwatch`), so right after another such event it waits.
const LINKWATCH: Duration = Duration::from_secs(1);

struct Lab {
    router: Child,
}

impl Lab {
    fn new() -> Self {
        // SAFETY: `unshare` takes no pointers; it gives this test's own thread an empty network namespace.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
        // The router's namespace lives as long as this process, which waits for the end of its input.
        let router = Command::new("unshare").args(["--net", "cat"]).stdin(Stdio::piped()).spawn().unwrap();
        let lab = Self { router };
        let pid = lab.router.id().to_string();
        let here = std::fs::read_link("/proc/thread-self/ns/net").unwrap();
        let deadline = Instant::now() + fair(PATIENCE);
        while std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap() == here {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        for line in [
            "link set lo up",
            &format!("link add up0 type veth peer name down0 netns {pid}"),
            "link set up0 up",
            "addr add 10.7.0.2/24 dev up0",
            "addr add fd07::2/64 dev up0 nodad",
        ] {
            ip(line);
        }
        for line in [
            "link set down0 up",
            "addr add 10.7.0.1/24 dev down0",
            "addr add 10.7.0.3/24 dev down0",
            "addr add fd07::1/64 dev down0 nodad",
        ] {
            lab.router_ip(line);
        }
        lab
    }

    fn router_ip(&self, line: &str) {
        let pid = self.router.id().to_string();
        run(Command::new("nsenter").args(["--net", "--target", &pid, "ip"]).args(line.split(' ')));
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.router.stdin.take());
        self.router.wait().unwrap();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip(line: &str) -> String {
    run(Command::new("ip").args(line.split(' ')))
}

fn addr(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Runs `test` on one thread, so that it stays in the namespace made for it.
fn in_lab(test: impl AsyncFnOnce(&Lab)) {
    let lab = Lab::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(&lab));
}

async fn until(
    published: &mut watch::Receiver<Arc<NextHops>>,
    destination: &str,
    what: impl Fn(&Result<Vec<NextHop>, Unresolved>) -> bool,
) -> Result<Vec<NextHop>, Unresolved> {
    let destination = addr(destination);
    let seen = published.wait_for(|answers| answers.get(&destination).is_some_and(&what));
    let seen = tokio::time::timeout(fair(PATIENCE), seen)
        .await
        .map(|answers| answers.unwrap()[&destination].clone());
    match seen {
        Ok(answer) => answer,
        Err(_) => panic!("{destination}: last {:?}; neighbours: {}", published.borrow(), ip("neigh show")),
    }
}

fn start(destinations: &[&str]) -> (NextHopHandle, watch::Receiver<Arc<NextHops>>) {
    let handle = NextHopResolver::start(vec!["up0".to_owned()]).unwrap();
    handle.set_destinations(destinations.iter().map(|text| addr(text)).collect());
    let published = handle.watch();
    (handle, published)
}

fn took(what: &str, since: Instant, limit: Duration) {
    let (elapsed, limit) = (since.elapsed(), fair(limit));
    println!("{what}: {:.1} ms", elapsed.as_secs_f64() * 1000.0);
    assert!(elapsed < limit, "{what} took {elapsed:?}");
}

#[test]
#[ignore = "needs root and netns"]
fn gateway_is_asked_for_resolves_and_is_forgotten_at_shutdown() {
    in_lab(async |_lab| {
        ip("route add default via 10.7.0.1");
        ip("route add default via fd07::1");
        let started = Instant::now();
        let (handle, mut published) = start(&["198.51.100.1", "2001:db8::1", "10.7.0.3", "10.7.0.2"]);
        let hops = until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        took("IPv4 gateway resolved after start", started, PROMPT);
        assert!(matches!(hops[..], [NextHop { mtu: 1500, vlan: None, is_on_link: false, .. }]), "{hops:?}");
        let on_link = vec![NextHop { is_on_link: true, ..hops[0] }];
        assert_eq!(until(&mut published, "2001:db8::1", Result::is_ok).await, Ok(hops));
        assert_eq!(until(&mut published, "10.7.0.3", Result::is_ok).await, Ok(on_link));
        assert_eq!(published.borrow()[&addr("10.7.0.2")], Err(Unresolved::LocalAddress));
        let neighbours = ip("neigh show");
        for made in ["10.7.0.1 ", "10.7.0.3 ", "fd07::1 "] {
            let line = neighbours.lines().find(|line| line.starts_with(made)).unwrap();
            assert!(line.contains("managed"), "{line}");
        }
        handle.set_destinations([addr("198.51.100.1")].into());
        published.wait_for(|answers| answers.len() == 1).await.unwrap();
        handle.shutdown().await;
        assert!(!ip("neigh show").contains("managed"));
    });
}

#[test]
#[ignore = "needs root and netns"]
fn link_down_unresolves_and_link_up_resolves_again() {
    in_lab(async |lab| {
        ip("route add 198.51.100.0/24 via 10.7.0.1");
        let (handle, mut published) = start(&["198.51.100.1"]);
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        // The other end goes: carrier lost, the route stays.
        let since = Instant::now();
        lab.router_ip("link set down0 down");
        // On a slow machine the neighbour, which is seen first, may be missing before the link is.
        let down = Err(Unresolved::LinkDown { interface: "up0".to_owned() });
        until(&mut published, "198.51.100.1", |answer| *answer == down).await.unwrap_err();
        took("carrier loss seen", since, LINKWATCH + PROMPT);
        let since = Instant::now();
        lab.router_ip("link set down0 up");
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        took("resolved after carrier came back", since, PATIENCE);
        // Our end goes: the kernel removes the route without a word.
        let since = Instant::now();
        ip("link set up0 down");
        let none = Err(Unresolved::NoRoute);
        until(&mut published, "198.51.100.1", |answer| *answer == none).await.unwrap_err();
        took("interface down seen", since, PROMPT);
        handle.shutdown().await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn changed_mac_and_changed_route_are_seen() {
    in_lab(async |_lab| {
        ip("route add 198.51.100.0/24 via 10.7.0.1");
        let (handle, mut published) = start(&["198.51.100.1"]);
        let first = until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        let since = Instant::now();
        ip("neigh replace 10.7.0.1 lladdr 02:00:00:00:00:42 dev up0 nud reachable");
        let moved =
            until(&mut published, "198.51.100.1", |answer| *answer != Ok(first.clone())).await.unwrap();
        took("changed MAC seen", since, PROMPT);
        assert_eq!(moved[0].destination_mac, [2, 0, 0, 0, 0, 0x42]);
        // Replaced by hand it was no longer managed: it is taken over again.
        let deadline = Instant::now() + fair(PATIENCE);
        while !ip("neigh show 10.7.0.1 dev up0").contains("managed") {
            assert!(Instant::now() < deadline);
            tokio::task::yield_now().await;
        }
        let since = Instant::now();
        ip("route replace 198.51.100.0/24 via 10.7.0.3 mtu 1400");
        let rerouted = until(&mut published, "198.51.100.1", |answer| {
            answer.as_ref().is_ok_and(|hops| hops[0].mtu == 1400)
        });
        assert_eq!(rerouted.await.unwrap()[0].destination_mac, first[0].destination_mac);
        took("changed route seen and its gateway resolved", since, PROMPT);
        let since = Instant::now();
        ip("route replace blackhole 198.51.100.1/32");
        assert_eq!(until(&mut published, "198.51.100.1", Result::is_err).await, Err(Unresolved::Blackhole));
        took("blackhole seen", since, PROMPT);
        handle.shutdown().await;
        assert!(!ip("neigh show").contains("managed"));
    });
}

#[test]
#[ignore = "needs root and netns"]
fn managed_neighbour_comes_back_after_a_flush() {
    in_lab(async |_lab| {
        ip("route add 198.51.100.0/24 via inet6 fd07::1");
        let (handle, mut published) = start(&["198.51.100.1"]);
        let hops = until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        // The gap between removal and answer may be too short for a watcher: count what is in the kernel instead.
        let since = Instant::now();
        ip("neigh flush dev up0");
        let deadline = Instant::now() + fair(PATIENCE);
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await; // lets the loop run: one thread here
            let entry = ip("-6 neigh show fd07::1 dev up0");
            if entry.contains("managed") && entry.contains("lladdr") {
                break;
            }
            assert!(Instant::now() < deadline, "not made again: {entry}");
        }
        took("flushed neighbour made and resolved again", since, PROMPT);
        assert_eq!(until(&mut published, "198.51.100.1", Result::is_ok).await, Ok(hops));
        handle.shutdown().await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn silent_gateway_fails_and_the_other_path_is_taken() {
    in_lab(async |lab| {
        ip("route add 198.51.100.0/24 nexthop via 10.7.0.1 dev up0 nexthop via 10.7.0.9 dev up0");
        ip("route add 203.0.113.0/24 via 10.7.0.9");
        let (handle, mut published) = start(&["198.51.100.1", "203.0.113.1"]);
        let hops = until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        assert_eq!(hops.len(), 1, "{hops:?}");
        let failed = Unresolved::NeighbourFailed { gateway: addr("10.7.0.9"), interface: "up0".to_owned() };
        until(&mut published, "203.0.113.1", |answer| *answer == Err(failed.clone())).await.unwrap_err();
        // It comes to life: the kernel asks again by itself, or answers the router's first packet.
        let since = Instant::now();
        lab.router_ip("addr add 10.7.0.9/24 dev down0");
        until(&mut published, "203.0.113.1", Result::is_ok).await.unwrap();
        took("silent gateway answers at last", since, PATIENCE);
        handle.shutdown().await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn paths_of_a_nexthop_group_follow_its_members() {
    in_lab(async |_lab| {
        // A second router that only the neighbour table knows.
        ip("neigh replace 10.7.0.9 lladdr 02:00:00:00:00:99 dev up0 nud permanent");
        ip("neigh replace fd07::9 lladdr 02:00:00:00:00:99 dev up0 nud permanent");
        for line in [
            "nexthop add id 1 via 10.7.0.1 dev up0",
            "nexthop add id 2 via 10.7.0.9 dev up0",
            "nexthop add id 10 group 1/2",
            "route add 198.51.100.0/24 nhid 10",
            "nexthop add id 3 via fd07::1 dev up0",
            "nexthop add id 4 via fd07::9 dev up0",
            "nexthop add id 11 group 3/4",
            "-6 route add 2001:db8::/32 nhid 11",
        ] {
            ip(line);
        }
        let (handle, mut published) = start(&["198.51.100.1", "2001:db8::1"]);
        let of = |count: usize| {
            move |answer: &Result<Vec<NextHop>, Unresolved>| {
                answer.as_ref().is_ok_and(|hops| hops.len() == count)
            }
        };
        for (destination, member) in [("198.51.100.1", 2), ("2001:db8::1", 4)] {
            let both = until(&mut published, destination, of(2)).await.unwrap();
            // The kernel tells of the group and not of the route.
            let since = Instant::now();
            ip(&format!("nexthop del id {member}"));
            let one = until(&mut published, destination, of(1)).await.unwrap();
            took("a member that left its group seen", since, PROMPT);
            assert!(both.contains(&one[0]) && one[0].destination_mac != [2, 0, 0, 0, 0, 0x99], "{one:?}");
        }
        handle.shutdown().await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn hidden_paths_of_a_nexthop_object_have_their_reason() {
    in_lab(async |_lab| {
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "0").unwrap();
        ip("nexthop add id 1 via 10.7.0.1 dev up0");
        ip("route add 198.51.100.0/24 nhid 1");
        let (handle, mut published) = start(&["198.51.100.1"]);
        let hidden = |answer: &Result<Vec<NextHop>, Unresolved>| *answer == Err(Unresolved::Hidden);
        until(&mut published, "198.51.100.1", hidden).await.unwrap_err();
        std::fs::write("/proc/sys/net/ipv4/nexthop_compat_mode", "1").unwrap();
        ip("route replace 198.51.100.0/24 nhid 1 mtu 1400");
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        handle.shutdown().await;
    });
}

/// Needs `8021q`; the dataplane's own lab does not.
#[test]
#[ignore = "needs root and netns; skipped where the kernel has no 802.1Q devices"]
fn a_tagged_device_on_the_uplink_gives_its_tag_and_mac() {
    in_lab(async |lab| {
        if !can_make("link add link up0 name up0.100 type vlan id 100") {
            println!("skipped: this kernel has no 802.1Q devices");
            return;
        }
        for line in [
            "link set up0.100 address 02:00:00:00:01:00",
            "link set up0.100 mtu 1400 up",
            "addr add 10.8.0.2/24 dev up0.100",
            "route add 198.51.100.0/24 via 10.8.0.1",
        ] {
            ip(line);
        }
        for line in [
            "link add link down0 name down0.100 type vlan id 100",
            "link set down0.100 up",
            "addr add 10.8.0.1/24 dev down0.100",
        ] {
            lab.router_ip(line);
        }
        let (handle, mut published) = start(&["198.51.100.1"]);
        let hops = until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        let index = index_of("up0");
        assert!(
            matches!(hops[..], [NextHop { mtu: 1400, vlan: Some(100), source_mac: [2, 0, 0, 0, 1, 0], ifindex, .. }] if ifindex == index),
            "{hops:?}"
        );
        let since = Instant::now();
        ip("link del up0.100");
        until(&mut published, "198.51.100.1", Result::is_err).await.unwrap_err();
        took("a tagged device that went seen", since, PROMPT);
        handle.shutdown().await;
    });
}

#[test]
#[ignore = "needs root and netns; skipped where the kernel has no bonds"]
fn a_bond_resolves_to_itself_and_survives_a_member() {
    in_lab(async |lab| {
        if !can_make("link add bond0 type bond mode active-backup miimon 50") {
            println!("skipped: this kernel has no bonds");
            return;
        }
        for line in [
            "link set up0 down",
            "link set up0 master bond0",
            "link set bond0 up",
            "addr add 10.9.0.2/24 dev bond0",
            "route add 198.51.100.0/24 via 10.9.0.1",
        ] {
            ip(line);
        }
        lab.router_ip("addr add 10.9.0.1/24 dev down0");
        let members = NextHopResolver::start(vec!["up0".to_owned()]).unwrap();
        members.set_destinations([addr("198.51.100.1")].into());
        let reason = until(&mut members.watch(), "198.51.100.1", Result::is_err).await.unwrap_err();
        assert_eq!(
            reason,
            Unresolved::BondOfUplinks { interface: "bond0".to_owned(), member: "up0".to_owned() }
        );
        members.shutdown().await;
        let handle = NextHopResolver::start(vec!["bond0".to_owned()]).unwrap();
        handle.set_destinations([addr("198.51.100.1")].into());
        let hops = until(&mut handle.watch(), "198.51.100.1", Result::is_ok).await.unwrap();
        assert_eq!(hops[0].ifindex, index_of("bond0"));
        lab.router_ip("link set down0 down");
        until(&mut handle.watch(), "198.51.100.1", Result::is_err).await.unwrap_err();
        handle.shutdown().await;
    });
}

/// Whether the kernel has such a device.
fn can_make(line: &str) -> bool {
    Command::new("ip").args(line.split(' ')).output().unwrap().status.success()
}

fn index_of(name: &str) -> u32 {
    crate::kernel::link::ifindex(name).unwrap()
}

#[test]
#[ignore = "needs root and netns"]
fn entries_left_by_a_crash_are_taken_over() {
    in_lab(async |_lab| {
        ip("route add 198.51.100.0/24 via 10.7.0.1");
        let (handle, mut published) = start(&["198.51.100.1", "10.7.0.3"]);
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        until(&mut published, "10.7.0.3", Result::is_ok).await.unwrap();
        handle.task.abort();
        drop(handle);
        assert!(ip("neigh show").contains("managed"));
        let (handle, mut published) = start(&["198.51.100.1"]);
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        handle.shutdown().await;
        assert!(!ip("neigh show").contains("managed"), "also the one that nobody wants any more");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn storm_of_route_changes_ends_with_the_right_answer() {
    // What is timed is one reading of all of them; an emulated machine has fewer.
    let routes = 20_000 / slowness();
    in_lab(async |_lab| {
        ip("route add 198.51.100.0/24 via 10.7.0.1");
        let (handle, mut published) = start(&["198.51.100.1"]);
        until(&mut published, "198.51.100.1", Result::is_ok).await.unwrap();
        let mut batch = String::new();
        for n in 0..routes {
            batch.push_str(&format!("route add 100.{}.{}.0/24 via 10.7.0.3\n", 64 + n / 256, n % 256));
        }
        batch.push_str("route replace 198.51.100.0/24 via 10.7.0.3 mtu 1300\n");
        let file = std::env::temp_dir().join(format!("weir-routes-{}", std::process::id()));
        std::fs::write(&file, batch).unwrap();
        let mut child = tokio::process::Command::new("ip").arg("-batch").arg(&file).spawn().unwrap();
        assert!(child.wait().await.unwrap().success());
        let since = Instant::now();
        let last = until(&mut published, "198.51.100.1", |answer| {
            answer.as_ref().is_ok_and(|hops| hops[0].mtu == 1300)
        });
        last.await.unwrap();
        let what = format!("last of {routes} route changes seen after the end of the storm");
        took(&what, since, Duration::from_secs(3));
        std::fs::remove_file(&file).unwrap();
        handle.shutdown().await;
    });
}
