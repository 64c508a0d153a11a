// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Reading objects: lists, single ones, and names that nothing has.

use super::FakeAppliance;
use super::harness::running;
use crate::v1::{AdvertisedRouteList, BackendList, Counter, VipList};

#[tokio::test]
async fn an_object_is_its_spec_and_its_status() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let vip = server.ask("GET", "/v1/vips/other").await.json();
    assert_eq!(vip["name"], "other");
    assert_eq!(vip["spec"]["address"], "2001:db8::10");
    assert_eq!(vip["status"]["withheld"][0], "backends");
    assert_eq!(vip["status"]["conditions"][0]["type"], "withheld");
    assert_eq!(vip["status"]["conditions"][0]["code"], "backends");
    assert_eq!(vip["status"]["peers"]["tor1"], false);
    assert_eq!(vip["status"]["decided_at"], "2026-01-01T00:00:00.250000Z");
    assert_eq!(vip["overrides"], serde_json::json!([]));
    assert_eq!(vip["generation"], 3);
    let backend = server.ask("GET", "/v1/pools/web/backends/b1").await.json();
    assert_eq!(backend["pool"], "web");
    assert_eq!(backend["spec"]["weight"], 100);
    assert_eq!(backend["status"]["flows"], 4);
    assert_eq!(backend["status"]["check"]["checks"][0]["results"][0]["outcome"], "refused");
    let service = server.ask("GET", "/v1/services/www-https").await.json();
    assert_eq!(service["spec"]["vip"], "www");
    let peer = server.ask("GET", "/v1/peers/tor1").await.json();
    assert_eq!(peer["status"]["state"], "established");
    assert_eq!(peer["status"]["negotiated"]["received"][0]["code"], 65);
    let bgp = server.ask("GET", "/v1/bgp").await.json();
    assert_eq!((&bgp["spec"]["asn"], &bgp["status"]["strangers_total"]), (&65_010.into(), &4.into()));
    assert_eq!(bgp["peers"]["edge"]["discovery"]["own"], "fe80::2");
    let appliance = server.ask("GET", "/v1/appliance").await.json();
    assert_eq!(appliance["spec"]["bgp"]["asn"], 65_010);
    assert_eq!(appliance["status"]["process"]["kernel"], "6.18.0");
    assert_eq!(appliance["status"]["conditions"][0]["code"], "state-not-kept");
}

#[tokio::test]
async fn lists_are_in_the_order_of_names_and_can_be_read_back() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let vips: VipList = serde_json::from_str(&server.ask("GET", "/v1/vips").await.body).expect("as written");
    let names: Vec<_> = vips.items.iter().map(|vip| vip.name.as_str()).collect();
    assert_eq!(names, ["other", "www"]);
    let backends = server.ask("GET", "/v1/pools/web/backends").await.body;
    let backends: BackendList = serde_json::from_str(&backends).expect("as written");
    assert_eq!(backends.items[1].status.packets_total, Counter(40));
    for (path, first) in [("/v1/services", "www-https"), ("/v1/pools", "web"), ("/v1/peers", "edge")] {
        assert_eq!(server.ask("GET", path).await.json()["items"][0]["name"], first);
    }
}

#[tokio::test]
async fn long_lists_of_prefixes_come_in_pages() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let mut path = "/v1/peers/tor1/adj-rib-out?limit=3".to_owned();
    let mut pages = Vec::new();
    while pages.len() < 10 {
        let page: AdvertisedRouteList =
            serde_json::from_str(&server.ask("GET", &path).await.body).expect("as written");
        assert_eq!(page.total, 4);
        pages.push(page.items.iter().map(|route| route.prefix.clone()).collect::<Vec<_>>());
        match page.next {
            Some(next) => {
                path = format!("/v1/peers/tor1/adj-rib-out?limit=3&cursor={}", next.replace('/', "%2F"))
            }
            None => break,
        }
    }
    assert_eq!(pages, [vec!["192.0.2.1/32", "198.51.100.10/32", "2001:db8::/32"], vec!["2001:db8::10/128"]]);
    let received = server.ask("GET", "/v1/peers/tor1/adj-rib-in").await.json();
    assert_eq!(received["items"][0]["prefix"], "0.0.0.0/0");
    server.ask("GET", "/v1/peers/tor1/adj-rib-in?limit=0").await.problem(422, "invalid-field");
}

#[tokio::test]
async fn a_name_that_nothing_has_is_404_with_a_guess() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    for (path, words) in [
        ("/v1/vips/wwww", "there is no vip named `wwww`, did you mean `www`?"),
        ("/v1/vips/mail", "there is no vip named `mail`"),
        ("/v1/services/www-http", "there is no service named `www-http`, did you mean `www-https`?"),
        ("/v1/pools/wbe", "there is no pool named `wbe`, did you mean `web`?"),
        ("/v1/pools/wbe/backends", "there is no pool named `wbe`, did you mean `web`?"),
        ("/v1/pools/web/backends/b3", "there is no backend of pool `web` named `b3`, did you mean `b1`?"),
        ("/v1/peers/tor2/adj-rib-out", "there is no peer named `tor2`, did you mean `tor1`?"),
        ("/v1/peers/tor2/adj-rib-in", "there is no peer named `tor2`, did you mean `tor1`?"),
        ("/v1/peers/racks%2F10.0.5.9", "there is no peer named `racks/10.0.5.9`"),
        ("/v1/peers/tor2", "there is no peer named `tor2`, did you mean `tor1`?"),
        ("/v1/vips/wwww/override", "there is no vip named `wwww`, did you mean `www`?"),
        ("/v1/vips/%77%77%77%77", "there is no vip named `wwww`, did you mean `www`?"),
    ] {
        assert_eq!(server.ask("GET", path).await.problem(404, "not-found"), words);
    }
    let long = format!("/v1/vips/{}", "w".repeat(4_000));
    assert!(server.ask("GET", &long).await.problem(404, "not-found").len() < 150);
    server.ask("GET", "/v1/vips/%ff").await.problem(400, "bad-request");
}

#[tokio::test]
async fn the_document_has_an_etag() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let answer = server.ask("GET", "/v1/document").await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"00ff\""));
    assert_eq!(answer.json()["vips"]["www"]["address"], "198.51.100.10");
    for tag in ["\"00ff\"", "W/\"00ff\"", "\"x\", \"00ff\"", "*"] {
        let same = server.send("GET", "/v1/document", &format!("if-none-match: {tag}\r\n"), "").await;
        assert_eq!((same.status, same.body.as_str(), same.header("etag")), (304, "", "\"00ff\""), "{tag}");
    }
    let other = server.send("GET", "/v1/document", "if-none-match: \"00fe\"\r\n", "").await;
    assert_eq!(other.status, 200);
}

#[tokio::test]
async fn a_request_id_is_taken_over_if_it_can_be_printed() {
    let (server, _appliance) = running(FakeAppliance::default()).await;
    let given = server.send("GET", "/v1/vips/none", "x-request-id: ab-12\r\n", "").await;
    assert_eq!(given.header("x-request-id"), "ab-12");
    assert_eq!(given.json()["instance"], "ab-12");
    let long = "x".repeat(65);
    for bad in ["", "a b", "\u{e9}", &long] {
        let made = server.send("GET", "/livez", &format!("x-request-id: {bad}\r\n"), "").await;
        let id = made.header("x-request-id");
        assert!(id != bad && !id.is_empty() && id.len() < 40, "{id}");
    }
    let (one, two) = (server.ask("GET", "/livez").await, server.ask("GET", "/livez").await);
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}
