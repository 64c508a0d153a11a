// SPDX-License-Identifier: Apache-2.0 OR MIT
//! From a [`Scrape`] to the text that Prometheus reads.

use std::collections::BTreeMap;

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{self, MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

use super::bgp;
use super::names::{self, Kind, Metric};
use super::telemetry::{Histogram, Telemetry};
use crate::stats::ApiCounts;
use crate::v1::{BackendState, OverrideState, PoolStatus, Status, WithheldReason};

/// Most series of backends; beyond it less is told of each, and `weir_metrics_dropped_series` says so.
const SERIES_MAX: u64 = 100_000;
/// Series of one backend: up, weight, packets, bytes, flows created, flows, next hop.
const SERIES_OF_BACKEND: u64 = 7;
/// More series of one backend, one for each state.
const SERIES_OF_STATES: u64 = BackendState::ALL.len() as u64;

/// What one scrape tells of.
#[derive(Debug, Clone, Copy)]
pub struct Scrape<'a> {
    /// The status.
    pub status: &'a Status,
    /// What the parts count beside it.
    pub telemetry: &'a Telemetry,
    /// What the API counts of itself.
    pub api: &'a ApiCounts,
}

/// The text form of all metrics, those of the process included.
///
/// Fails only when a family is malformed, which is a bug of this crate.
pub fn render(scrape: &Scrape<'_>) -> prometheus::Result<String> {
    let status = scrape.status;
    let mut families = Families::default();
    appliance(status, &mut families);
    document(status, &mut families);
    vips(status, &mut families);
    services(status, &mut families);
    let detail = Detail::of(status);
    families.count(&names::METRICS_DROPPED, &[], detail.dropped(backends_of(status)));
    for (pool, of_pool) in &status.pools {
        backends(pool, of_pool, detail, &mut families);
    }
    health(status, scrape.telemetry, &mut families);
    api(scrape.api, &mut families);
    dataplane(status, &mut families);
    bgp::speaker(status, &mut families);
    let mut all = families.in_order();
    all.extend(ProcessCollector::for_self().collect());
    let mut text = Vec::new();
    TextEncoder::new().encode(&all, &mut text)?;
    String::from_utf8(text).map_err(|error| prometheus::Error::Msg(error.to_string()))
}

/// Series by family, filled in any order and written in the order of [`names::ALL`].
#[derive(Default)]
pub(super) struct Families {
    series: BTreeMap<&'static str, Vec<proto::Metric>>,
}

impl Families {
    /// A series without its value. `labels` are the values of the metric's labels, in their order.
    fn series(metric: &'static Metric, labels: &[&str]) -> proto::Metric {
        assert_eq!(labels.len(), metric.labels.len(), "{} has the labels {:?}", metric.name, metric.labels);
        let pairs = metric.labels.iter().zip(labels).map(|(name, value)| {
            let mut pair = proto::LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        });
        proto::Metric::from_label(pairs.collect())
    }

    /// Adds one series of a counter or a gauge.
    pub(super) fn add(&mut self, metric: &'static Metric, labels: &[&str], value: f64) {
        let mut series = Self::series(metric, labels);
        match metric.kind {
            Kind::Counter => {
                let mut counter = proto::Counter::default();
                counter.set_value(value);
                series.set_counter(counter);
            }
            Kind::Gauge => {
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value);
                series.set_gauge(gauge);
            }
            Kind::Histogram => panic!("{} is added by `distribution`", metric.name),
        }
        self.series.entry(metric.name).or_default().push(series);
    }

    /// Adds one series of a histogram.
    fn distribution(&mut self, metric: &'static Metric, labels: &[&str], histogram: &Histogram) {
        assert_eq!(metric.kind, Kind::Histogram, "{}", metric.name);
        let mut cumulative = 0;
        let buckets = histogram.bounds.iter().zip(&histogram.buckets).map(|(bound, count)| {
            cumulative += count;
            let mut bucket = proto::Bucket::default();
            bucket.set_upper_bound(*bound);
            bucket.set_cumulative_count(cumulative);
            bucket
        });
        let mut value = proto::Histogram::default();
        value.set_bucket(buckets.collect());
        value.set_sample_count(histogram.count());
        value.set_sample_sum(histogram.sum);
        let mut series = Self::series(metric, labels);
        series.set_histogram(value);
        self.series.entry(metric.name).or_default().push(series);
    }

    pub(super) fn count(&mut self, metric: &'static Metric, labels: &[&str], value: impl Into<u64>) {
        // Exact up to 2^53, like every number in this format.
        self.add(metric, labels, value.into() as f64);
    }

    pub(super) fn flag(&mut self, metric: &'static Metric, labels: &[&str], holds: bool) {
        self.add(metric, labels, if holds { 1.0 } else { 0.0 });
    }

    fn in_order(mut self) -> Vec<MetricFamily> {
        let families = names::ALL.iter().filter_map(|metric| {
            let series = self.series.remove(metric.name)?;
            let mut family = MetricFamily::default();
            family.set_name(metric.name.to_owned());
            family.set_help(metric.help.to_owned());
            family.set_field_type(match metric.kind {
                Kind::Counter => MetricType::COUNTER,
                Kind::Gauge => MetricType::GAUGE,
                Kind::Histogram => MetricType::HISTOGRAM,
            });
            family.set_metric(series);
            Some(family)
        });
        families.collect()
    }
}

fn appliance(status: &Status, families: &mut Families) {
    let this = &status.appliance;
    families.flag(&names::BUILD_INFO, &[&this.version, &this.commit, &this.rustc, &this.kernel], true);
    families.add(&names::START_TIME, &[], this.started_at.since_epoch().as_secs_f64());
    families.flag(&names::READY, &[], this.waiting_for.is_empty());
}

fn document(status: &Status, families: &mut Families) {
    let document = &status.document;
    families.count(&names::DOCUMENT_GENERATION, &["accepted"], document.accepted_generation);
    families.count(&names::DOCUMENT_GENERATION, &["applied"], document.applied_generation);
    families.flag(&names::DOCUMENT_INFO, &[&document.hash, &document.owner], true);
    families.add(&names::DOCUMENT_LAST_SUCCESS, &[], document.accepted_at.since_epoch().as_secs_f64());
    if let Some(rejected) = &document.last_rejected {
        families.add(&names::DOCUMENT_LAST_REJECTED, &[], rejected.at.since_epoch().as_secs_f64());
    }
    for state in OverrideState::ALL {
        let in_force = status.overrides.iter().filter(|one| one.state == state).count();
        families.count(&names::OVERRIDES, &[state.name()], in_force as u64);
    }
    for condition in status.conditions.iter().filter(|condition| condition.state) {
        let severity = condition.severity.map_or("info", |severity| severity.name());
        families.flag(&names::CONDITION, &[&condition.code, severity], true);
    }
    let (all, failed) = (status.reconcile.passes_total.0, status.reconcile.failed_passes_total.0);
    families.count(&names::RECONCILE_PASSES, &["ok"], all.saturating_sub(failed));
    families.count(&names::RECONCILE_PASSES, &["failed"], failed);
    families.add(&names::RECONCILE_LAST_DURATION, &[], status.reconcile.last_pass_seconds);
}

/// What the checks came to, and what follows from them.
fn health(status: &Status, telemetry: &Telemetry, families: &mut Families) {
    for of_pool in &telemetry.checks {
        let (pool, kind) = (of_pool.pool.as_str(), of_pool.kind.as_str());
        for (result, times) in &of_pool.results {
            families.count(&names::HEALTHCHECK_RESULTS, &[pool, kind, result], *times);
        }
        families.distribution(&names::HEALTHCHECK_DURATION, &[pool, kind], &of_pool.durations);
    }
    let histograms = [
        (&names::HEALTHCHECK_LATENESS, &telemetry.lateness),
        (&names::BACKEND_CHANGE_DELAY, &telemetry.rows_delay),
        (&names::BGP_UPDATE_DELAY, &telemetry.update_delay),
    ];
    for (metric, histogram) in histograms {
        if let Some(histogram) = histogram {
            families.distribution(metric, &[], histogram);
        }
    }
    let health = status.health;
    families.count(&names::HEALTHCHECK_IN_FLIGHT, &[], telemetry.in_flight);
    families.count(&names::HEALTHCHECK_SCHEDULED, &[], health.checks);
    for (verdict, checks) in [("unknown", health.unknown), ("up", health.up), ("down", health.down)] {
        families.count(&names::HEALTHCHECK_VERDICTS, &[verdict], checks);
    }
    families.flag(&names::HEALTHCHECK_OVERLOADED, &[], health.is_overloaded);
    for (outcome, packets) in &telemetry.check_path {
        families.count(&names::HEALTHCHECK_PATH_PACKETS, &[outcome], *packets);
    }
    for (reason, frames) in &telemetry.losses {
        families.count(&names::XDP_LOST, &[reason], *frames);
    }
    for (result, times) in &telemetry.documents {
        families.count(&names::DOCUMENT_CHANGES, &[result], *times);
    }
    for (pool, backend, to, times) in &telemetry.backend_transitions {
        families.count(&names::BACKEND_TRANSITIONS, &[pool, backend, to], *times);
    }
}

fn api(counts: &ApiCounts, families: &mut Families) {
    for (route, method, code, requests) in &counts.requests {
        families.count(&names::API_REQUESTS, &[route, method, &code.to_string()], *requests);
    }
    for (route, histogram) in &counts.durations {
        families.distribution(&names::API_REQUEST_DURATION, &[route], histogram);
    }
    families.count(&names::EVENT_WATCHERS, &[], counts.watchers);
    families.count(&names::EVENTS_DROPPED, &[], counts.overflows);
}

fn vips(status: &Status, families: &mut Families) {
    for (name, vip) in &status.vips {
        families.flag(&names::VIP_ANNOUNCE_DESIRED, &[name], vip.announce_desired);
        families.flag(&names::VIP_ANNOUNCED, &[name], vip.announced);
        for reason in WithheldReason::ALL {
            families.flag(&names::VIP_WITHHELD, &[name, reason.name()], vip.withheld.contains(&reason));
        }
        for (to, times) in &vip.transitions {
            families.count(&names::VIP_TRANSITIONS, &[name, to], *times);
        }
    }
}

fn services(status: &Status, families: &mut Families) {
    for (name, service) in &status.services {
        families.count(&names::SERVICE_PACKETS, &[name], service.packets_total);
        families.count(&names::SERVICE_BYTES, &[name], service.bytes_total);
        families.count(&names::SERVICE_FLOWS_CREATED, &[name], service.flows_created_total);
    }
}

/// How much is told of each backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    All,
    /// All but one series for each state.
    NoStates,
    /// Nothing: pools tell what there is.
    Nothing,
}

impl Detail {
    /// As much as [`SERIES_MAX`] allows.
    fn of(status: &Status) -> Self {
        let backends = backends_of(status);
        match backends {
            _ if backends * (SERIES_OF_BACKEND + SERIES_OF_STATES) <= SERIES_MAX => Self::All,
            _ if backends * SERIES_OF_BACKEND <= SERIES_MAX => Self::NoStates,
            _ => Self::Nothing,
        }
    }

    fn dropped(self, backends: u64) -> u64 {
        match self {
            Self::All => 0,
            Self::NoStates => backends * SERIES_OF_STATES,
            Self::Nothing => backends * (SERIES_OF_BACKEND + SERIES_OF_STATES),
        }
    }
}

fn backends_of(status: &Status) -> u64 {
    status.pools.values().map(|pool| pool.backends.len() as u64).sum()
}

fn backends(pool: &str, of_pool: &PoolStatus, detail: Detail, families: &mut Families) {
    for state in BackendState::ALL {
        let in_state = of_pool.backends.values().filter(|backend| backend.state == state).count();
        families.count(&names::POOL_BACKENDS, &[pool, state.name()], in_state as u64);
    }
    families.add(&names::POOL_USABLE_WEIGHT, &[pool], of_pool.usable_weight_ratio);
    if detail == Detail::Nothing {
        return;
    }
    for (name, backend) in &of_pool.backends {
        for state in BackendState::ALL.into_iter().filter(|_| detail == Detail::All) {
            families.flag(&names::BACKEND_STATE, &[pool, name, state.name()], backend.state == state);
        }
        if let Some(flows) = backend.flows {
            families.count(&names::BACKEND_FLOWS, &[pool, name], flows);
        }
        let labels = &[pool, name.as_str()];
        families.flag(&names::BACKEND_UP, labels, backend.state == BackendState::Usable);
        families.count(&names::BACKEND_WEIGHT, labels, backend.weight);
        families.count(&names::BACKEND_PACKETS, labels, backend.packets_total);
        families.count(&names::BACKEND_BYTES, labels, backend.bytes_total);
        families.count(&names::BACKEND_FLOWS_CREATED, labels, backend.flows_created_total);
        families.flag(&names::NEXTHOP_RESOLVED, labels, backend.next_hop.resolved);
    }
}

fn dataplane(status: &Status, families: &mut Families) {
    let dataplane = &status.dataplane;
    let together = dataplane.uplinks.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    for (verdict, packets) in dataplane.uplinks.values().next().map(|one| &one.verdicts).into_iter().flatten()
    {
        families.count(&names::XDP_PACKETS, &[together.as_str(), verdict], *packets);
    }
    for (name, uplink) in &dataplane.uplinks {
        families.flag(&names::XDP_ATTACHED, &[name, uplink.mode.name()], uplink.attached);
    }
    families.count(&names::FLOW_SLOTS, &[], dataplane.flow_slots);
    families.count(&names::FLOW_SLOTS_USED, &[], dataplane.flow_slots_used);
}
