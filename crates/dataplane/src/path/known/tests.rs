// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reports in, MTUs and refusals out, time going on.

use super::*;
use crate::next_hop::{NextHop, Unresolved};

const BACKEND: &str = "10.1.0.3";

fn hop(mtu: u16) -> NextHop {
    NextHop {
        ifindex: 7,
        source_mac: [2, 0, 0, 0, 0, 1],
        destination_mac: [2, 0, 0, 0, 0, 2],
        mtu,
        vlan: None,
        is_on_link: false,
    }
}

fn hops(mtu: u16) -> NextHops {
    [
        (BACKEND.parse().unwrap(), Ok(vec![hop(mtu), hop(mtu)])),
        ("10.1.0.4".parse().unwrap(), Ok(vec![hop(mtu)])),
        ("10.1.0.5".parse().unwrap(), Err(Unresolved::NoRoute)),
    ]
    .into()
}

fn ours() -> Ours {
    Ours { sources: ["192.0.2.1".parse().unwrap()].into(), ports: [6080].into() }
}

fn report(told: Told) -> Report {
    Report {
        router: "172.16.0.9".parse().unwrap(),
        source: "192.0.2.1".parse().unwrap(),
        destination: BACKEND.parse().unwrap(),
        tunnel: Tunnel::Ip,
        told,
    }
}

fn mtu_of(known: &Known, hops: &NextHops) -> u16 {
    known.apply(hops)[&BACKEND.parse::<IpAddr>().unwrap()].as_ref().unwrap()[0].mtu
}

#[test]
fn a_told_mtu_holds_for_its_time_and_only_for_its_backend() {
    let (start, hops, ours) = (Instant::now(), hops(1500), ours());
    let mut known = Known::default();
    assert!(known.handle_report(start, &report(Told::Mtu(1450)), &ours, &hops));
    assert_eq!(mtu_of(&known, &hops), 1450);
    let applied = known.apply(&hops);
    assert!(applied[&BACKEND.parse::<IpAddr>().unwrap()].as_ref().unwrap().iter().all(|hop| hop.mtu == 1450));
    assert_eq!(applied[&"10.1.0.4".parse::<IpAddr>().unwrap()].as_ref().unwrap()[0].mtu, 1500);
    // Again the same: no news, but a longer life.
    let later = start + Duration::from_secs(300);
    assert!(!known.handle_report(later, &report(Told::Mtu(1450)), &ours, &hops));
    assert!(
        !known.handle_report(later, &report(Told::Mtu(1480)), &ours, &hops),
        "a path does not grow by being told"
    );
    assert!(known.handle_report(later, &report(Told::Mtu(1420)), &ours, &hops));
    assert_eq!((mtu_of(&known, &hops), known.poll_timeout()), (1420, Some(later + MTU_HOLDS)));
    assert!(!known.handle_timeout(later + MTU_HOLDS - Duration::from_millis(1)));
    assert!(known.handle_timeout(later + MTU_HOLDS));
    assert_eq!((mtu_of(&known, &hops), known.poll_timeout()), (1500, None));
}

#[test]
fn an_ipv6_client_can_be_told_of_every_mtu_that_is_believed() {
    use BackendMode as Mode;
    let modes = [(Mode::IPIP, false), (Mode::L2, false)].into_iter();
    let with_udp = [Mode::GUE, Mode::GUE_CANDIDATES, Mode::GUE_DIRECT].map(|mode| (mode, true));
    for (mode, has_udp) in modes.chain(with_udp) {
        for is_v6 in [false, true] {
            let told = u32::from(mtu_min(is_v6, has_udp)) - overhead_max(mode, is_v6);
            assert!(
                told >= u32::from(IPV6_MTU_MIN),
                "mode {mode} tells {told}, outer header of IPv6: {is_v6}"
            );
        }
    }
    assert_eq!([mtu_min(false, false), mtu_min(true, false)], [1_300, 1_320]);
    assert_eq!([mtu_min(false, true), mtu_min(true, true)], [1_340, 1_408]);
}

#[test]
fn what_cannot_be_true_changes_nothing() {
    let (now, hops, ours) = (Instant::now(), hops(1500), ours());
    let mut known = Known::default();
    let with = |edit: fn(&mut Report)| {
        let mut report = report(Told::Mtu(1400));
        edit(&mut report);
        report
    };
    for (name, report) in [
        ("as large as the link", report(Told::Mtu(1500))),
        ("larger", report(Told::Mtu(9000))),
        ("larger than sixteen bits", report(Told::Mtu(0x1_0000))),
        ("another's source", with(|r| r.source = "192.0.2.2".parse().unwrap())),
        ("no backend", with(|r| r.destination = "10.1.0.9".parse().unwrap())),
        ("an unresolved backend", with(|r| r.destination = "10.1.0.5".parse().unwrap())),
        ("another port", with(|r| r.tunnel = Tunnel::Udp(53))),
    ] {
        assert!(!known.handle_report(now, &report, &ours, &hops), "{name}");
        assert_eq!(known.status(), BTreeMap::new(), "{name}");
    }
    assert!(known.handle_report(now, &with(|r| r.tunnel = Tunnel::Udp(6080)), &ours, &hops));
    // Nobody can push a path below what IPv6 clients need.
    let least = mtu_min(false, true);
    for told in [0, 1, 68, 576, 1_280, u32::from(least) - 1] {
        known.handle_report(now, &report(Told::Mtu(told)), &ours, &hops);
        assert_eq!(mtu_of(&known, &hops), least, "told {told}");
    }
    // Nor on a link that has less by itself.
    let small = super::tests::hops(1_300);
    assert!(!Known::default().handle_report(now, &report(Told::Mtu(1_000)), &ours, &small));
}

#[test]
fn a_refusal_is_news_once_and_ends() {
    let (start, hops, ours) = (Instant::now(), hops(1500), ours());
    let mut known = Known::default();
    assert!(known.handle_report(start, &report(Told::Refused(Refusal::Port)), &ours, &hops));
    let later = start + Duration::from_secs(30);
    assert!(!known.handle_report(later, &report(Told::Refused(Refusal::Port)), &ours, &hops));
    let state = known.status()[&BACKEND.parse::<IpAddr>().unwrap()];
    assert_eq!(state, PathState { mtu: None, refused: Some((Refusal::Port, "172.16.0.9".parse().unwrap())) });
    assert_eq!(known.apply(&hops), hops, "a refusal moves nothing: health checks decide");
    assert!(!known.handle_timeout(start + REFUSAL_HOLDS));
    assert!(known.handle_timeout(later + REFUSAL_HOLDS));
    assert_eq!(known.status(), BTreeMap::new());
}

#[test]
fn reasons_and_routers_that_change_with_every_message_are_no_news() {
    let (start, hops, ours) = (Instant::now(), hops(1500), ours());
    let mut known = Known::default();
    assert!(known.handle_report(start, &report(Told::Refused(Refusal::Port)), &ours, &hops));
    let before = known.status();
    for (n, why) in [Refusal::Host, Refusal::Network, Refusal::Port, Refusal::Loop].into_iter().enumerate() {
        let router = IpAddr::from([172, 16, 1, u8::try_from(n).unwrap()]);
        let forged = Report { router, ..report(Told::Refused(why)) };
        assert!(!known.handle_report(start + Duration::from_secs(30), &forged, &ours, &hops), "{why:?}");
        assert_eq!(known.status(), before, "{why:?}");
    }
    // Another reason has its turn once the first is not heard of any more.
    let end = start + Duration::from_secs(30) + REFUSAL_HOLDS;
    assert!(known.handle_timeout(end));
    assert!(known.handle_report(end, &report(Told::Refused(Refusal::Host)), &ours, &hops));
}

#[test]
fn who_is_no_backend_any_more_is_forgotten() {
    let (now, hops, ours) = (Instant::now(), hops(1500), ours());
    let mut known = Known::default();
    known.handle_report(now, &report(Told::Mtu(1400)), &ours, &hops);
    known.handle_report(now, &report(Told::Refused(Refusal::Host)), &ours, &hops);
    assert!(!known.handle_destinations(&hops));
    assert!(known.handle_destinations(&NextHops::new()));
    assert_eq!((known.status(), known.poll_timeout()), (BTreeMap::new(), None));
}

#[test]
fn a_second_has_so_many_news_and_what_was_left_out_comes_with_the_next() {
    let (start, ours) = (Instant::now(), ours());
    let address = |number: u32| IpAddr::from((0x0a02_0000 + number).to_be_bytes());
    let all: NextHops = (0..NEWS_PER_SECOND + 1).map(|n| (address(n), Ok(vec![hop(1500)]))).collect();
    let mut known = Known::default();
    let mut tell = |now, number, mtu| {
        let report = Report { destination: address(number), ..report(Told::Mtu(mtu)) };
        known.handle_report(now, &report, &ours, &all)
    };
    for number in 0..NEWS_PER_SECOND {
        assert!(tell(start, number, 1450), "{number}");
    }
    let late = start + Duration::from_millis(999);
    assert!(!tell(late, NEWS_PER_SECOND, 1450), "one more");
    assert!(!tell(late, 0, 1440), "lower still, which is news too");
    assert!(!tell(late, 0, 1450), "what is known is not news, and is not refused either");
    let next = start + Duration::from_secs(1);
    assert!(tell(next, NEWS_PER_SECOND, 1450), "told again");
    assert!(tell(next, 0, 1440));
    known.handle_timeout(start + MTU_HOLDS);
    let left: Vec<IpAddr> = known.status().into_keys().collect();
    assert_eq!(left, [address(0), address(NEWS_PER_SECOND)], "those of the second second");
}
