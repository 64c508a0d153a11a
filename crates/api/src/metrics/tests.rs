// SPDX-License-Identifier: Apache-2.0 OR MIT
//! The names keep their rules, and the text says what the status says.

use std::collections::BTreeSet;

use super::names::{ALL, Kind};
use super::render;
use super::{ApiCounts, Histogram, Scrape};
use crate::tests::{sample, telemetry};
use crate::v1::Status;

fn text(status: &Status) -> String {
    let mut histogram = Histogram::new(&[0.001, 0.01]);
    histogram.observe(0.002);
    let api = ApiCounts {
        requests: vec![("/v1/vips/{vip}".into(), "GET", 404, 3)],
        durations: vec![("/v1/vips/{vip}".into(), histogram)],
        watchers: 2,
        overflows: 1,
    };
    render(&Scrape { status, telemetry: &telemetry(), api: &api }).expect("the families are well formed")
}

fn lines() -> Vec<String> {
    text(&sample()).lines().map(str::to_owned).collect()
}

#[test]
fn names_follow_the_rules() {
    let mut seen = BTreeSet::new();
    for metric in ALL {
        assert!(seen.insert(metric.name), "{} twice", metric.name);
        assert!(metric.name.starts_with("weir_"), "{}", metric.name);
        assert!(metric.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", metric.name);
        assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
        assert!(metric.help.ends_with('.') && metric.help.len() > 10, "{}: {}", metric.name, metric.help);
        for unit in ["_ms", "_seconds_total", "_octets", "_percent"] {
            assert!(!metric.name.ends_with(unit), "{}", metric.name);
        }
    }
}

#[test]
fn every_family_is_written_with_its_help_and_type() {
    let lines = lines();
    for metric in ALL {
        // The sample has every object but a refused document.
        if metric.name == "weir_document_last_rejected_timestamp_seconds" {
            continue;
        }
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        for head in
            [format!("# HELP {} {}", metric.name, metric.help), format!("# TYPE {} {kind}", metric.name)]
        {
            assert_eq!(lines.iter().filter(|line| **line == head).count(), 1, "{head}");
        }
    }
    assert!(lines.iter().any(|line| line.starts_with("process_open_fds ")));
}

#[test]
fn series_say_what_the_status_says() {
    let lines = lines();
    for expected in [
        "weir_document_generation{stage=\"applied\"} 3",
        "weir_reconcile_passes_total{result=\"ok\"} 5",
        "weir_reconcile_passes_total{result=\"failed\"} 2",
        "weir_vip_announced{vip=\"www\"} 1",
        "weir_vip_withheld{vip=\"other\",reason=\"backends\"} 1",
        "weir_vip_withheld{vip=\"other\",reason=\"dataplane\"} 0",
        "weir_service_bytes_total{service=\"www-https\"} 8000",
        "weir_pool_backends{pool=\"web\",state=\"unresolved\"} 1",
        "weir_pool_backends{pool=\"web\",state=\"draining\"} 0",
        "weir_nexthop_resolved{pool=\"web\",backend=\"b2\"} 0",
        "weir_xdp_packets_total{uplink=\"eth0\",verdict=\"not_a_vip\"} 5",
        "weir_xdp_lost_frames_total{reason=\"unsupported\"} 2",
        "weir_xdp_attached{uplink=\"eth0\",mode=\"native\"} 1",
        "weir_flow_slots_used 8",
        "weir_backend_state{pool=\"web\",backend=\"b2\",state=\"unresolved\"} 1",
        "weir_backend_flows{pool=\"web\",backend=\"b1\"} 4",
        "weir_pool_usable_weight_ratio{pool=\"web\"} 0.5",
        "weir_backend_transitions_total{pool=\"web\",backend=\"b1\",to=\"failed\"} 2",
        "weir_healthcheck_results_total{pool=\"web\",kind=\"http\",result=\"refused\"} 1",
        "weir_healthcheck_duration_seconds_bucket{pool=\"web\",kind=\"http\",le=\"0.01\"} 1",
        "weir_healthcheck_duration_seconds_bucket{pool=\"web\",kind=\"http\",le=\"+Inf\"} 2",
        "weir_healthcheck_duration_seconds_count{pool=\"web\",kind=\"http\"} 2",
        "weir_healthcheck_lateness_seconds_sum 0.5005",
        "weir_healthcheck_verdicts{verdict=\"down\"} 1",
        "weir_condition{code=\"state-not-kept\",severity=\"warning\"} 1",
        "weir_overrides{kind=\"drain\"} 0",
        "weir_document_changes_total{result=\"applied\"} 1",
        "weir_api_requests_total{route=\"/v1/vips/{vip}\",method=\"GET\",code=\"404\"} 3",
        "weir_event_watchers 2",
        "weir_vip_withheld{vip=\"www\",reason=\"no-peer\"} 0",
        "weir_bgp_session_state{peer=\"tor1\",state=\"established\"} 1",
        "weir_bgp_session_state{peer=\"tor1\",state=\"idle\"} 0",
        "weir_bgp_messages_total{peer=\"tor1\",direction=\"received\",type=\"keepalive\"} 12",
        "weir_bgp_notifications_total{peer=\"tor1\",direction=\"sent\",code=\"4\",subcode=\"0\"} 1",
        "weir_bgp_prefix_limit_reached_total{peer=\"tor1\",direction=\"received\"} 3",
        "weir_bgp_prefix_limit_reached_total{peer=\"tor1\",direction=\"sent\"} 0",
        "weir_bgp_prefix_limit{peer=\"tor1\",family=\"ipv4\"} 16",
        "weir_bgp_hold_time_seconds{peer=\"tor1\"} 9",
        "weir_bgp_graceful_restart_agreed{peer=\"tor1\"} 1",
        "weir_bgp_graceful_restart_agreed{peer=\"edge\"} 0",
        "weir_bgp_router_advertisements_total{peer=\"edge\",outcome=\"sent\"} 3",
        "weir_bgp_peer_info{peer=\"edge\",remote_as=\"0\",address=\"\",interface=\"eth1\"} 1",
        "weir_bgp_imported_default{family=\"ipv4\"} 1",
        "weir_bgp_strangers_total 4",
        "weir_bfd_session_state{peer=\"tor1\",state=\"up\"} 1",
        "weir_bfd_session_transitions_total{peer=\"tor1\",to=\"down\"} 1",
        "weir_bfd_never_up{peer=\"tor1\"} 0",
        "weir_bfd_detection_time_seconds{peer=\"tor1\"} 0.3",
        "weir_bgp_prefixes_received_total{peer=\"tor1\",family=\"ipv4\",action=\"withdraw\"} 2",
        "weir_bgp_prefixes{peer=\"tor1\",family=\"ipv4\",direction=\"advertised\"} 2",
        "weir_bgp_prefix_announced{peer=\"tor1\",prefix=\"198.51.100.10/32\"} 1",
        "weir_bgp_prefix_announced{peer=\"tor1\",prefix=\"2001:db8::10/128\"} 0",
    ] {
        assert_eq!(lines.iter().filter(|line| *line == expected).count(), 1, "{expected}");
    }
}

#[test]
fn a_range_has_no_session_to_tell_of() {
    let told = lines();
    assert!(!told.iter().any(|line| line.contains("racks")), "{told:#?}");
}

#[test]
fn no_series_is_written_twice() {
    let mut seen = BTreeSet::new();
    for line in lines().iter().filter(|line| !line.starts_with('#')) {
        let (series, _value) = line.rsplit_once(' ').expect("a series and a value");
        assert!(seen.insert(series.to_owned()), "{series}");
    }
}

#[test]
fn an_object_that_left_takes_its_series_along() {
    let mut status = sample();
    status.pools.clear();
    status.peers.clear();
    let text = text(&status);
    assert!(
        !text.contains("weir_backend_packets")
            && !text.contains("weir_bgp_session")
            && !text.contains("weir_bfd_session"),
        "{text}"
    );
}

#[test]
fn thousands_of_backends_are_told_with_less_detail() {
    let mut status = sample();
    let pool = status.pools.get_mut("web").expect("in the sample");
    let one = pool.backends["b1"].clone();
    let mut with = |backends: usize| {
        let pool = status.pools.get_mut("web").expect("in the sample");
        pool.backends = (0..backends).map(|number| (format!("b{number}"), one.clone())).collect();
        let text = text(&status);
        let count = |name: &str| {
            let of_name = text.lines().filter(|line| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
            });
            of_name.count()
        };
        let told = (count("weir_backend_state"), count("weir_backend_up"));
        let dropped = text.lines().find_map(|line| line.strip_prefix("weir_metrics_dropped_series "));
        let of_backends = text.lines().filter(|line| line.contains("backend=\"b7\"")).count();
        (told, of_backends, dropped.expect("told").to_owned())
    };
    assert_eq!(with(7_692), ((7_692 * 6, 7_692), 13, "0".to_owned()));
    assert_eq!(with(7_693), ((0, 7_693), 7, "46158".to_owned()));
    assert_eq!(with(14_285), ((0, 14_285), 7, "85710".to_owned()));
    assert_eq!(with(14_286), ((0, 0), 0, "185718".to_owned()));
}
