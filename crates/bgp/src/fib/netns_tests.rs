// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Default routes in a real kernel: each test has a network namespace of its own with two links.
//!
//! ```text
//!  up0 10.7.0.2/24, fd07::2/64    ═ veth ═ far0
//!  up1 10.7.1.2/24, fd07:1::2/64  ═ veth ═ far1      the same link-local router fe80::1 is behind both
//! ```

use std::net::IpAddr;
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::config::Family;

/// Longest wait for anything in these tests.
const PATIENCE: Duration = Duration::from_secs(10);
/// What "at once" may mean on a machine that compiles something else at the same time.
const PROMPT: Duration = Duration::from_millis(500);

const V4: Family = Family::Ipv4Unicast;
const V6: Family = Family::Ipv6Unicast;

fn ip(line: &str) -> String {
    let output = Command::new("ip").args(line.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The default routes of a family with our mark, without what the kernel adds for the eye.
fn ours(family: Family) -> String {
    let family = if family == V4 { "-4" } else { "-6" };
    let text = ip(&format!("{family} route show table main default proto 87"));
    text.split_whitespace().filter(|word| *word != "pref" && *word != "medium").collect::<Vec<_>>().join(" ")
}

fn link_index(interface: &str) -> u32 {
    ip(&format!("-o link show {interface}")).split(':').next().unwrap().trim().parse().unwrap()
}

fn hop(text: &str) -> DefaultNextHop {
    let (gateway, interface) = match text.split_once('%') {
        Some((gateway, interface)) => (gateway, Some(link_index(interface))),
        None => (text, None),
    };
    DefaultNextHop { gateway: gateway.parse().unwrap(), interface, weight: 1 }
}

fn defaults(v4: &[&str], v6: &[&str]) -> Defaults {
    let hops = |texts: &[&str]| texts.iter().map(|text| hop(text)).collect();
    Defaults::from([(V4, hops(v4)), (V6, hops(v6))])
}

/// Runs `test` on one thread in a network namespace made for it.
#[expect(unsafe_code, reason = "the standard library has no namespaces")]
fn in_lab(test: impl AsyncFnOnce()) {
    // SAFETY: `unshare` takes no pointers; it gives this test's own thread an empty network namespace.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "needs root");
    for (n, prefix) in ["fd07::2/64", "fd07:1::2/64"].iter().enumerate() {
        ip(&format!("link add up{n} type veth peer name far{n}"));
        ip(&format!("link set up{n} up"));
        ip(&format!("link set far{n} up"));
        ip(&format!("addr add 10.7.{n}.2/24 dev up{n}"));
        ip(&format!("addr add {prefix} dev up{n} nodad"));
    }
    ip("link set lo up");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test());
}

/// Waits until the status says so, which also lets the task run: there is one thread.
async fn until(fib: &FibHandle, what: impl Fn(&FibStatus) -> bool) -> Arc<FibStatus> {
    let mut status = fib.status();
    let found = tokio::time::timeout(PATIENCE, status.wait_for(|status| what(status))).await;
    match found.map(|status| Arc::clone(&status.unwrap())) {
        Ok(status) => status,
        Err(_) => panic!("last {:#?}; routes: {} {}", status.borrow(), ip("-4 route"), ip("-6 route")),
    }
}

/// Waits until the kernel says so.
async fn until_route(family: Family, what: impl Fn(&str) -> bool) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = ours(family);
        if what(&text) {
            return text;
        }
        assert!(Instant::now() < deadline, "last `{text}`");
        tokio::time::sleep(Duration::from_millis(1)).await; // lets the task run: one thread here
    }
}

fn installed(status: &FibStatus, family: Family) -> usize {
    status.families.get(&family).map_or(0, |family| family.next_hops.len())
}

fn start() -> FibHandle {
    Fib::start(FibConfig::default(), ADOPTION_MAX).unwrap()
}

fn took(what: &str, since: Instant, limit: Duration) {
    let elapsed = since.elapsed();
    println!("{what}: {:.2} ms", elapsed.as_secs_f64() * 1000.0);
    assert!(elapsed < limit, "{what} took {elapsed:?}");
}

#[test]
#[ignore = "needs root and netns"]
fn one_numbered_router_comes_and_goes() {
    in_lab(async || {
        let fib = start();
        until(&fib, |status| status.families.len() == 2).await;
        let since = Instant::now();
        fib.set(defaults(&["10.7.0.1"], &["fd07::1"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        took("set to installed, both families", since, PROMPT);
        assert_eq!(ours(V4), "default via 10.7.0.1 dev up0 metric 20");
        assert_eq!(ours(V6), "default via fd07::1 dev up0 metric 20");
        let since = Instant::now();
        fib.set(Defaults::new(), Completeness::Whole);
        let status = until(&fib, |status| installed(status, V4) == 0 && installed(status, V6) == 0).await;
        took("last loss to removed, both families", since, PROMPT);
        assert_eq!((ours(V4), ours(V6)), (String::new(), String::new()));
        assert_eq!((status.problem.as_ref(), status.mended), (None, 0));
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn ipv4_goes_via_one_link_local_address_on_two_interfaces() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["fe80::1%up0", "fe80::1%up1"], &[]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 2).await;
        let route = ours(V4);
        assert!(route.contains("nexthop via inet6 fe80::1 dev up0 weight 1"), "{route}");
        assert!(route.contains("nexthop via inet6 fe80::1 dev up1 weight 1"), "{route}");
        assert!(ip("route get 198.51.100.1").contains("via inet6 fe80::1"));
        // One is lost: the other stays alone, and there is no moment without a route.
        fib.set(defaults(&["fe80::1%up1"], &[]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1).await;
        assert_eq!(ours(V4), "default via inet6 fe80::1 dev up1 metric 20");
        fib.end(AtEnd::Remove).await;
        assert_eq!(ours(V4), "");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn ipv6_next_hops_join_and_leave_a_group() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&[], &["fe80::1%up0", "fe80::1%up1", "fd07::9"]), Completeness::Whole);
        until(&fib, |status| installed(status, V6) == 3).await;
        let route = ours(V6);
        for part in ["via fe80::1 dev up0", "via fe80::1 dev up1", "via fd07::9 dev up0"] {
            assert!(route.contains(part), "{route}");
        }
        // Replaced by others, shrunk to one.
        fib.set(defaults(&[], &["fe80::2%up0", "fe80::1%up1"]), Completeness::Whole);
        until(&fib, |status| installed(status, V6) == 2).await;
        let route = ours(V6);
        assert!(route.contains("via fe80::2 dev up0") && route.contains("via fe80::1 dev up1"), "{route}");
        fib.set(defaults(&[], &["fe80::3%up0"]), Completeness::Whole);
        let lone = |text: &str| text.starts_with("default via fe80::3 dev up0 metric 20");
        until_route(V6, lone).await;
        let status = until(&fib, |status| installed(status, V6) == 1).await;
        assert_eq!(status.mended, 0);
        fib.end(AtEnd::Remove).await;
        assert_eq!(ours(V6), "");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_group_mixes_ipv4_and_ipv6_routers_with_weights() {
    in_lab(async || {
        let fib = start();
        let mut wanted = defaults(&["10.7.0.1", "fe80::1%up1"], &["fd07::1", "fe80::1%up1"]);
        let heavier = |hop: DefaultNextHop| DefaultNextHop {
            weight: if hop.interface.is_some() { 3 } else { 1 },
            ..hop
        };
        for hops in wanted.values_mut() {
            *hops = hops.iter().copied().map(heavier).collect();
        }
        fib.set(wanted, Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 2 && installed(status, V6) == 2).await;
        let route = ours(V4);
        assert!(route.contains("nexthop via 10.7.0.1 dev up0 weight 1"), "{route}");
        assert!(route.contains("nexthop via inet6 fe80::1 dev up1 weight 3"), "{route}");
        let route = ours(V6);
        assert!(route.contains("nexthop via fd07::1 dev up0 weight 1"), "{route}");
        assert!(route.contains("nexthop via fe80::1 dev up1 weight 3"), "{route}");
        assert_eq!(fib.status().borrow().problem, None);
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn replacing_leaves_no_moment_without_a_route() {
    /// Each adds two routes and removes two.
    const TURNS: usize = 200;
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["10.7.0.1"], &["fe80::1%up0"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        // The kernel's own log of changes: between the first route and the last no removal leaves none.
        let mut monitor = Command::new("ip")
            .args(["-o", "monitor", "route"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = monitor.stdout.take().unwrap();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let lines = std::thread::spawn(move || {
            let mut present = [1i32, 1];
            let mut seen = 0usize;
            for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)) {
                let line = line.unwrap();
                if line.contains("203.0.113.0/24") {
                    ready.send(()).unwrap();
                }
                if !line.contains("proto 87") {
                    continue;
                }
                let family = usize::from(line.contains("via fe80"));
                present[family] += if line.starts_with("Deleted") { -1 } else { 1 };
                seen += 1;
                assert!(present[family] >= 1, "a moment without a route: {line}");
            }
            seen
        });
        // It hears nothing before it has a socket.
        let deadline = Instant::now() + PATIENCE;
        while is_ready.try_recv().is_err() {
            ip("route replace 203.0.113.0/24 dev up1");
            ip("route del 203.0.113.0/24");
            assert!(Instant::now() < deadline, "the monitor does not listen");
        }
        let mut status = fib.status();
        for turn in 0..TURNS {
            let n = 1 + (turn + 1) % 2;
            let gateway: IpAddr = format!("10.7.0.{n}").replace("0.2", "0.3").parse().unwrap();
            let v6: IpAddr = format!("fe80::{n}").parse().unwrap();
            let wanted = Defaults::from([
                (V4, [DefaultNextHop { gateway, interface: None, weight: 1 }].into()),
                (V6, [DefaultNextHop { gateway: v6, interface: Some(link_index("up0")), weight: 1 }].into()),
            ]);
            fib.set(wanted, Completeness::Whole);
            let is = |status: &FibStatus, family, gateway| matches!(&status.families[&family].next_hops[..], [hop] if hop.next_hop.gateway == gateway);
            let waited = status.wait_for(|status| is(status, V4, gateway) && is(status, V6, v6));
            tokio::time::timeout(PATIENCE, waited).await.unwrap().unwrap();
        }
        monitor.kill().unwrap();
        monitor.wait().unwrap();
        let seen = lines.join().unwrap();
        println!("{seen} changes seen");
        assert!(seen > TURNS * 2, "the monitor heard only {seen} changes");
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn an_earlier_run_is_adopted_until_its_peers_have_spoken() {
    in_lab(async || {
        let first = start();
        first.set(defaults(&["10.7.0.1", "fe80::1%up1"], &["fe80::1%up0"]), Completeness::Whole);
        until(&first, |status| installed(status, V4) == 2 && installed(status, V6) == 1).await;
        first.end(AtEnd::Keep).await;
        let (v4, v6) = (ours(V4), ours(V6));
        assert!(v4.contains("10.7.0.1") && v4.contains("fe80::1"), "{v4}");

        let second = start();
        let status = until(&second, |status| installed(status, V4) == 2 && installed(status, V6) == 1).await;
        assert_eq!((status.adopted, status.is_adopting, status.purged), (3, true, 0));
        // One peer is back; nothing changes for it, and the other's next hop stays.
        second.set(defaults(&["10.7.0.1"], &[]), Completeness::Partial);
        // A third peer is new.
        second.set(defaults(&["10.7.0.1", "10.7.1.9"], &[]), Completeness::Partial);
        until(&second, |status| installed(status, V4) == 3).await;
        assert_eq!(ours(V6), v6);
        // All have spoken: what nobody announced goes.
        second.set(defaults(&["10.7.0.1", "10.7.1.9"], &[]), Completeness::Whole);
        let status = until(&second, |status| !status.is_adopting && installed(status, V4) == 2).await;
        assert_eq!((status.purged, status.mended, installed(&status, V6)), (2, 0, 0));
        assert_eq!(ours(V6), "");
        second.end(AtEnd::Remove).await;
        assert_eq!(ours(V4), "");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn what_nobody_claims_is_purged_at_the_deadline_also_of_another_metric() {
    in_lab(async || {
        ip("route add default via 10.7.0.1 proto 87 metric 99");
        ip("-6 route add default via fe80::1 dev up0 proto 87 metric 20");
        ip("route add default via 10.7.0.1 proto 87 table 77");
        let fib = Fib::start(FibConfig::default(), Duration::from_millis(300)).unwrap();
        let status = until(&fib, |status| installed(status, V6) == 1).await;
        assert!(status.is_adopting);
        let status = until(&fib, |status| !status.is_adopting && installed(status, V6) == 0).await;
        assert_eq!((status.adopted, status.purged, status.elsewhere), (2, 2, 1));
        assert_eq!((ours(V4), ours(V6)), (String::new(), String::new()));
        assert!(ip("route show table 77").contains("proto 87"), "another table is not touched");
        fib.end(AtEnd::Remove).await;
        assert!(ip("route show table 77").contains("proto 87"), "another table is not touched");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn foreign_default_routes_stay_as_they_are() {
    in_lab(async || {
        ip("route add default via 10.7.1.1 metric 1024 proto dhcp");
        ip("route add default via 10.7.1.1 proto static");
        ip("-6 route add default via fe80::9 dev up1 metric 1024 proto ra");
        let foreign = |family: &str| {
            let all = ip(&format!("-o {family} route show default"));
            all.lines().filter(|line| !line.contains("proto 87")).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = (foreign("-4"), foreign("-6"));
        assert_eq!((before.0.len(), before.1.len()), (2, 1));
        let fib = start();
        for wanted in [
            defaults(&["10.7.0.1"], &["fe80::1%up0"]),
            defaults(&["10.7.0.1", "fe80::1%up1"], &["fe80::1%up0", "fe80::9%up1"]),
            defaults(&["10.7.0.3"], &["fe80::9%up1"]),
            Defaults::new(),
            defaults(&["10.7.1.1"], &["fe80::9%up1"]),
        ] {
            let count = |family| wanted.get(&family).map_or(0, BTreeSet::len);
            let (v4, v6) = (count(V4), count(V6));
            fib.set(wanted, Completeness::Whole);
            until(&fib, |status| installed(status, V4) == v4 && installed(status, V6) == v6).await;
            assert_eq!((foreign("-4"), foreign("-6")), before);
        }
        // Ours is before DHCP's and router advertisements', and behind one without a metric.
        assert!(ip("-6 route get 2001:db8::1").contains("via fe80::9 dev up1"));
        assert!(ip("route get 198.51.100.1").contains("via 10.7.1.1 dev up1"));
        fib.end(AtEnd::Remove).await;
        assert_eq!((foreign("-4"), foreign("-6")), before);
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_foreign_route_of_our_metric_blocks_and_is_not_touched() {
    in_lab(async || {
        ip("route add default via 10.7.1.1 metric 20 proto static");
        ip("-6 route add default via fe80::9 dev up1 metric 20 proto static");
        let before = (ip("-4 route show default"), ip("-6 route show default"));
        let fib = start();
        fib.set(defaults(&["10.7.0.1"], &["fe80::1%up0", "fe80::1%up1"]), Completeness::Whole);
        let blocked = |status: &FibStatus| status.families.values().all(|family| family.is_blocked);
        let status = until(&fib, |status| status.families.len() == 2 && blocked(status)).await;
        assert_eq!(
            status.problem.as_ref().unwrap().text,
            "ipv4-unicast: metric 20 in table 254: another default route has this metric, ours is not installed"
        );
        assert_eq!((ip("-4 route show default"), ip("-6 route show default")), before);
        // The operator takes it away: ours follows by itself.
        ip("route del default via 10.7.1.1 metric 20");
        ip("-6 route del default via fe80::9 dev up1 metric 20");
        let status = until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 2).await;
        assert_eq!((status.mended, blocked(&status)), (0, false));
        until(&fib, |status| status.problem.is_none()).await;
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_foreign_next_hop_that_joins_our_group_survives_us() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&[], &["fe80::1%up0"]), Completeness::Whole);
        until(&fib, |status| installed(status, V6) == 1).await;
        // The kernel joins IPv6 routes of one metric, whoever made them.
        ip("-6 route append default via fe80::9 dev up1 metric 20 proto static");
        let status = until(&fib, |status| status.problem.is_some()).await;
        assert!(status.problem.as_ref().unwrap().text.contains("shares our metric"), "{:?}", status.problem);
        assert!(ip("-6 route show default").contains("via fe80::9 dev up1"));
        fib.set(Defaults::new(), Completeness::Whole);
        until_route(V6, str::is_empty).await;
        fib.end(AtEnd::Remove).await;
        let left = ip("-6 route show default");
        assert!(left.contains("via fe80::9 dev up1") && !left.contains("fe80::1"), "{left}");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_route_removed_by_hand_comes_back_ever_slower() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["10.7.0.1"], &["fe80::1%up0", "fe80::1%up1"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 2).await;
        let since = Instant::now();
        ip("route del default proto 87");
        until(&fib, |status| status.mended == 1).await;
        took("removed by hand to back", since, PROMPT);
        assert_eq!(ours(V4), "default via 10.7.0.1 dev up0 metric 20");
        let mut waits = Vec::new();
        for turn in 0u64..4 {
            let since = Instant::now();
            ip("-6 route del default via fe80::1 dev up1 metric 20");
            until(&fib, |status| status.mended == turn + 2).await;
            waits.push(since.elapsed().as_millis());
        }
        println!("insisting: back after {waits:?} ms");
        // A late word of the kernel about the links may begin the waits anew once.
        assert!(waits.iter().any(|wait| *wait > 150), "{waits:?}");
        assert!(ours(V6).contains("dev up1"));
        // Changed instead of removed.
        ip("link set lo down");
        ip("route change default via 10.7.1.1 metric 20 proto 87");
        until(&fib, |status| status.mended == 6).await;
        assert_eq!(ours(V4), "default via 10.7.0.1 dev up0 metric 20");
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_link_that_goes_down_and_up_has_its_next_hops_back() {
    in_lab(async || {
        let fib = start();
        let wanted = defaults(&["10.7.0.1", "10.7.1.1"], &["fe80::1%up0", "fe80::1%up1"]);
        fib.set(wanted, Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 2 && installed(status, V6) == 2).await;
        // One of two: the kernel keeps the route, uses the other next hop and tells.
        ip("link set up1 down");
        let dead =
            |status: &FibStatus| status.families[&V4].next_hops.iter().filter(|hop| hop.is_dead).count();
        until(&fib, |status| dead(status) == 1).await;
        assert!(ip("route get 198.51.100.1").contains("dev up0"));
        ip("link set up1 up");
        let since = Instant::now();
        ip("addr replace fd07:1::2/64 dev up1 nodad");
        until(&fib, |status| {
            let hops = status.families.values().flat_map(|family| &family.next_hops);
            hops.clone().count() == 4 && hops.clone().all(|hop| !hop.is_dead)
        })
        .await;
        took("both next hops again after link up", since, PATIENCE);
        // The only one: the route goes with the link, without a word for IPv4, and comes back with it.
        fib.set(defaults(&["10.7.1.1"], &["fe80::1%up1"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        ip("link set up1 down");
        let status = until(&fib, |status| installed(status, V4) == 0 && installed(status, V6) == 0).await;
        assert!(status.problem.is_some());
        assert_eq!(status.families[&V4].refused.len(), 1, "{status:?}");
        ip("link set up1 up");
        let since = Instant::now();
        let status = until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        took("only next hop again after link up", since, PATIENCE);
        assert_eq!((status.families[&V4].refused.len(), status.mended), (0, 0));
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_dead_next_hop_keeps_no_new_one_out() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["10.7.0.1", "fe80::1%up1"], &[]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 2).await;
        ip("link set up1 down");
        until(&fib, |status| status.families[&V4].next_hops.iter().any(|hop| hop.is_dead)).await;
        // The kernel takes no new route over a link that is down, though it keeps the old one.
        fib.set(defaults(&["10.7.0.1", "10.7.0.9", "fe80::1%up1"], &[]), Completeness::Whole);
        let status = until(&fib, |status| !status.families[&V4].refused.is_empty()).await;
        let route = ours(V4);
        assert!(route.contains("via 10.7.0.1 dev up0") && route.contains("via 10.7.0.9 dev up0"), "{route}");
        println!("{}", status.families[&V4].refused[0].reason);
        ip("link set up1 up");
        until(&fib, |status| installed(status, V4) == 3 && status.problem.is_none()).await;
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn an_interface_that_vanishes_takes_no_good_next_hop_with_it() {
    in_lab(async || {
        let fib = start();
        let wanted = defaults(&["fe80::1%up0", "fe80::1%up1"], &["fe80::1%up0", "fe80::1%up1"]);
        fib.set(wanted, Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 2 && installed(status, V6) == 2).await;
        ip("link del up1");
        let status = until(&fib, |status| {
            let families = status.families.values();
            families.clone().all(|family| family.next_hops.len() == 1 && family.refused.len() == 1)
        })
        .await;
        assert_eq!(ours(V4), "default via inet6 fe80::1 dev up0 metric 20");
        assert!(status.problem.as_ref().unwrap().text.contains("next hop fe80::1 is refused"), "{status:?}");
        fib.set(defaults(&["fe80::1%up0"], &["fe80::1%up0"]), Completeness::Whole);
        until(&fib, |status| status.problem.is_none()).await;
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_router_that_no_link_reaches_is_left_aside_and_tried_again() {
    in_lab(async || {
        let fib = start();
        let wanted = defaults(&["10.7.0.1", "10.7.1.1", "10.9.9.1"], &["fd07::1", "fd09::1"]);
        fib.set(wanted, Completeness::Whole);
        let status = until(&fib, |status| installed(status, V4) == 2 && installed(status, V6) == 1).await;
        let refused = &status.families[&V4].refused;
        assert_eq!(refused.len(), 1, "{status:?}");
        assert_eq!(refused[0].next_hop.gateway.to_string(), "10.9.9.1");
        println!("{}; {}", refused[0].reason, status.families[&V6].refused[0].reason);
        // A link to it comes: its address wakes us before the next attempt would.
        ip("addr add 10.9.9.2/24 dev up1");
        ip("addr add fd09::2/64 dev up1 nodad");
        let status = until(&fib, |status| installed(status, V4) == 3 && installed(status, V6) == 2).await;
        assert_eq!((status.problem.as_ref(), status.mended), (None, 0));
        // Alone it is no route at all, and an error that is told.
        fib.set(defaults(&["10.99.0.1"], &[]), Completeness::Whole);
        let status = until(&fib, |status| installed(status, V4) == 0 && status.problem.is_some()).await;
        assert_eq!(ours(V4), "");
        println!("{}", status.problem.as_ref().unwrap().text);
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn one_good_router_among_many_bad_ones_is_used() {
    in_lab(async || {
        let bad = |family: &str, n: usize| match family {
            "v4" => format!("10.200.0.{n}"),
            _ => format!("2001:db8::{n:x}"),
        };
        let many = |family: &str, good: &str| {
            let texts: Vec<String> = (1..crate::import::NEXT_HOPS_MAX).map(|n| bad(family, n)).collect();
            texts.iter().map(String::as_str).chain([good]).map(hop).collect::<BTreeSet<_>>()
        };
        let fib = start();
        fib.set(
            Defaults::from([(V4, many("v4", "10.7.0.1")), (V6, many("v6", "fd07::1"))]),
            Completeness::Whole,
        );
        let status = until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        assert!(status.families.values().all(|family| family.refused.len() == 15), "{status:?}");
        assert_eq!(ours(V4), "default via 10.7.0.1 dev up0 metric 20");
        assert_eq!(ours(V6), "default via fd07::1 dev up0 metric 20");
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
fn another_table_is_served_as_well() {
    in_lab(async || {
        let fib = Fib::start(FibConfig { table: 1000, ..FibConfig::default() }, ADOPTION_MAX).unwrap();
        fib.set(defaults(&["10.7.0.1"], &["fe80::1%up0", "fe80::1%up1"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 2).await;
        assert!(ip("route show table 1000").contains("default via 10.7.0.1"));
        assert_eq!(ours(V4), "");
        fib.end(AtEnd::Remove).await;
        assert!(!ip("route show table 1000").contains("default"));
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_dropped_handle_leaves_the_routes() {
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["10.7.0.1"], &[]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1).await;
        let mut status = fib.status();
        drop(fib);
        // The task's end closes its status.
        let closed = async { while status.changed().await.is_ok() {} };
        tokio::time::timeout(PATIENCE, closed).await.unwrap();
        assert_eq!(ours(V4), "default via 10.7.0.1 dev up0 metric 20");
    });
}

#[test]
#[ignore = "needs root and netns"]
fn a_storm_of_foreign_routes_does_not_keep_the_task_busy() {
    const ROUTES: u32 = 20_000;
    in_lab(async || {
        let fib = start();
        fib.set(defaults(&["10.7.0.1"], &["fe80::1%up0"]), Completeness::Whole);
        until(&fib, |status| installed(status, V4) == 1 && installed(status, V6) == 1).await;
        let mut batch = String::new();
        for n in 0..ROUTES {
            batch.push_str(&format!("route add 100.{}.{}.0/24 via 10.7.1.3\n", 64 + n / 256, n % 256));
        }
        batch.push_str("route del default proto 87\n");
        let file = std::env::temp_dir().join(format!("weir-fib-{}", std::process::id()));
        std::fs::write(&file, batch).unwrap();
        let cpu = || {
            let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
            Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
        };
        let before = cpu();
        let mut child = tokio::process::Command::new("ip").arg("-batch").arg(&file).spawn().unwrap();
        assert!(child.wait().await.unwrap().success());
        let since = Instant::now();
        until(&fib, |status| status.mended == 1).await;
        took("our route back after the end of 20,000 foreign changes", since, PATIENCE);
        println!("time of our thread: {:.0} ms", (cpu() - before).as_secs_f64() * 1000.0);
        // A table of that size costs a reading little: the kernel filters.
        let since = Instant::now();
        fib.set(defaults(&["10.7.0.3"], &["fe80::1%up0"]), Completeness::Whole);
        until(&fib, |status| {
            let hops = &status.families[&V4].next_hops;
            hops.len() == 1 && hops[0].next_hop.gateway == hop("10.7.0.3").gateway
        })
        .await;
        took("set to installed beside 20,000 foreign routes", since, PROMPT);
        std::fs::remove_file(&file).unwrap();
        fib.end(AtEnd::Remove).await;
    });
}

#[test]
#[ignore = "needs root and netns"]
#[expect(unsafe_code, reason = "the standard library gives up no rights of one thread")]
fn without_the_right_it_says_so_and_goes_on() {
    in_lab(async || {
        ip("route add default via 10.7.0.1 proto 87 metric 20");
        const NOBODY: libc::c_long = 65534;
        // SAFETY: no pointers; this thread alone becomes somebody else, which the C library's function would not do.
        let answer = unsafe { libc::syscall(libc::SYS_setresuid, NOBODY, NOBODY, NOBODY) };
        assert_eq!(answer, 0);
        let fib = start();
        fib.set(defaults(&["10.7.0.1", "10.7.1.1"], &[]), Completeness::Whole);
        let status = until(&fib, |status| status.problem.is_some()).await;
        let text = &status.problem.as_ref().unwrap().text;
        assert_eq!(text, "Operation not permitted (os error 1), is CAP_NET_ADMIN missing?");
        assert_eq!(installed(&status, V4), 1, "what is there is seen all the same");
        let since = Instant::now();
        fib.end(AtEnd::Remove).await;
        took("end without the right", since, Duration::from_secs(2));
    });
}
