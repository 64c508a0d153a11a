// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Which labels the result of an expression has, and whether it uses only what exists.
//!
//! Follows the rules of the query language for the operators and functions that our files use; one that is not known here
//! is an error, so that nothing passes unlooked at.

use std::collections::{BTreeMap, BTreeSet};

use promql_parser::label::{Labels, Matchers};
use promql_parser::parser::token::{T_BOTTOMK, T_LAND, T_LOR, T_LUNLESS, T_TOPK};
use promql_parser::parser::{
    self, AggregateExpr, BinaryExpr, Call, Expr, LabelModifier, VectorMatchCardinality,
};
use weir_api::metrics::names::{self, Kind};
use weir_api::v1::{BackendState, WithheldReason};

/// Names of labels.
pub(crate) type LabelSet = BTreeSet<String>;

/// What Prometheus adds to every series of a target.
const TARGET_LABELS: [&str; 2] = ["instance", "job"];

/// Families of the process collector that we use; they have no labels of their own.
const PROCESS: [(&str, Kind); 4] = [
    ("process_cpu_seconds_total", Kind::Counter),
    ("process_open_fds", Kind::Gauge),
    ("process_resident_memory_bytes", Kind::Gauge),
    ("process_start_time_seconds", Kind::Gauge),
];

/// Functions that want a counter.
const OF_COUNTERS: [&str; 2] = ["rate", "increase"];
/// Functions whose result has the labels of their argument.
const KEEP_LABELS: [&str; 3] = ["rate", "increase", "changes"];

/// A series that may be selected.
struct Series {
    labels: LabelSet,
    is_counter: bool,
}

/// Everything that expressions may select: the appliance's metrics, those of the process, and what rules record.
pub(crate) struct Catalogue(BTreeMap<String, Series>);

impl Catalogue {
    /// The metrics that exist.
    pub(crate) fn of_metrics() -> Self {
        let mut all = BTreeMap::new();
        let mut add = |name: String, labels: &[&str], is_counter: bool| {
            let labels = labels.iter().chain(&TARGET_LABELS).map(|label| (*label).to_owned()).collect();
            all.insert(name, Series { labels, is_counter });
        };
        for metric in names::ALL {
            match metric.kind {
                Kind::Counter => add(metric.name.to_owned(), metric.labels, true),
                Kind::Gauge => add(metric.name.to_owned(), metric.labels, false),
                Kind::Histogram => {
                    let with_le: Vec<&str> = metric.labels.iter().copied().chain(["le"]).collect();
                    add(format!("{}_bucket", metric.name), &with_le, true);
                    add(format!("{}_sum", metric.name), metric.labels, true);
                    add(format!("{}_count", metric.name), metric.labels, true);
                }
            }
        }
        for (name, kind) in PROCESS {
            add(name.to_owned(), &[], kind == Kind::Counter);
        }
        Self(all)
    }

    /// Adds what a rule records.
    pub(crate) fn record(&mut self, name: &str, labels: LabelSet) {
        self.0.insert(name.to_owned(), Series { labels, is_counter: false });
    }

    /// The labels of the result of `expression`, or what is wrong with it.
    pub(crate) fn labels(&self, expression: &str) -> Result<LabelSet, String> {
        self.of(&parser::parse(expression)?)
    }

    fn of(&self, expression: &Expr) -> Result<LabelSet, String> {
        match expression {
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(LabelSet::new()),
            Expr::Paren(inner) => self.of(&inner.expr),
            Expr::Unary(inner) => self.of(&inner.expr),
            Expr::VectorSelector(selector) => self.selected(selector.name.as_deref(), &selector.matchers),
            Expr::MatrixSelector(selector) => {
                self.selected(selector.vs.name.as_deref(), &selector.vs.matchers)
            }
            Expr::Aggregate(aggregate) => self.aggregated(aggregate),
            Expr::Binary(binary) => self.combined(binary),
            Expr::Call(call) => self.called(call),
            Expr::Subquery(_) | Expr::Extension(_) => Err(format!("`{expression}`: not looked into here")),
        }
    }

    fn selected(&self, name: Option<&str>, matchers: &Matchers) -> Result<LabelSet, String> {
        let name = name.ok_or("a selector without a name")?;
        let series = self.0.get(name).ok_or(format!("there is no metric {name}"))?;
        for matcher in &matchers.matchers {
            within(name, &series.labels, &matcher.name)?;
            let values: Vec<&str> = match (name, matcher.name.as_str()) {
                ("weir_vip_withheld", "reason") => {
                    WithheldReason::ALL.iter().map(|value| value.name()).collect()
                }
                ("weir_pool_backends", "state") => {
                    BackendState::ALL.iter().map(|value| value.name()).collect()
                }
                _ => continue,
            };
            if !values.contains(&matcher.value.as_str()) {
                return Err(format!("{name}: {}=\"{}\" never occurs", matcher.name, matcher.value));
            }
        }
        Ok(series.labels.clone())
    }

    fn aggregated(&self, aggregate: &AggregateExpr) -> Result<LabelSet, String> {
        let of = self.of(&aggregate.expr)?;
        if let Some(parameter) = &aggregate.param {
            self.of(parameter)?;
        }
        let keeps_series = [T_TOPK, T_BOTTOMK].contains(&aggregate.op.id());
        match &aggregate.modifier {
            None if keeps_series => Ok(of),
            None => Ok(LabelSet::new()),
            Some(LabelModifier::Include(by)) => {
                let by = all_within("by", &of, by)?;
                Ok(if keeps_series { of } else { by })
            }
            Some(LabelModifier::Exclude(without)) => {
                let without = all_within("without", &of, without)?;
                Ok(if keeps_series { of } else { &of - &without })
            }
        }
    }

    fn combined(&self, binary: &BinaryExpr) -> Result<LabelSet, String> {
        let (left, right) = (self.of(&binary.lhs)?, self.of(&binary.rhs)?);
        let matching = binary.modifier.as_ref().and_then(|modifier| modifier.matching.as_ref());
        let named = match matching {
            Some(modifier) => {
                all_within("left of on/ignoring", &left, modifier.labels())?;
                if modifier.is_include() {
                    all_within("right of on", &right, modifier.labels())?
                } else {
                    all_within("right of ignoring", &right, modifier.labels())?
                }
            }
            None => LabelSet::new(),
        };
        match binary.op.id() {
            T_LAND | T_LUNLESS => return Ok(left),
            T_LOR => return Ok(&left | &right),
            _ => {}
        }
        if is_scalar(&binary.lhs) {
            return Ok(right);
        }
        let is_group_left = binary
            .modifier
            .as_ref()
            .is_some_and(|modifier| matches!(modifier.card, VectorMatchCardinality::ManyToOne(_)));
        match matching {
            _ if is_scalar(&binary.rhs) => Ok(left),
            Some(_) if is_group_left => Ok(left),
            Some(LabelModifier::Include(_)) => Ok(named),
            Some(LabelModifier::Exclude(_)) => Ok(&left - &named),
            // Without a word on matching both sides have the same labels, or nothing ever matches.
            None if left == right => Ok(left),
            None => Err(format!("`{binary}`: {left:?} never match {right:?}")),
        }
    }

    fn called(&self, call: &Call) -> Result<LabelSet, String> {
        let name = call.func.name;
        let arguments = &call.args.args;
        for argument in arguments {
            self.of(argument)?;
        }
        if OF_COUNTERS.contains(&name) {
            for argument in arguments {
                self.wants_counter(name, argument)?;
            }
        }
        match (name, arguments.last()) {
            (_, Some(last)) if KEEP_LABELS.contains(&name) => self.of(last),
            ("histogram_quantile", Some(last)) => {
                let mut labels = self.of(last)?;
                if !labels.remove("le") {
                    return Err(format!("`{last}` has no label le"));
                }
                Ok(labels)
            }
            ("absent" | "vector", _) => Ok(LabelSet::new()),
            _ => Err(format!("function {name} is not known here")),
        }
    }

    fn wants_counter(&self, function: &str, argument: &Expr) -> Result<(), String> {
        let Expr::MatrixSelector(selector) = argument else {
            return Err(format!("{function} of something else than a range"));
        };
        let name = selector.vs.name.as_deref().unwrap_or_default();
        match self.0.get(name) {
            Some(series) if series.is_counter => Ok(()),
            _ => Err(format!("{function} of {name}, which is no counter")),
        }
    }
}

fn is_scalar(expression: &Expr) -> bool {
    match expression {
        Expr::NumberLiteral(_) => true,
        Expr::Paren(inner) => is_scalar(&inner.expr),
        Expr::Unary(inner) => is_scalar(&inner.expr),
        _ => false,
    }
}

fn within(what: &str, labels: &LabelSet, label: &str) -> Result<(), String> {
    if labels.contains(label) {
        return Ok(());
    }
    Err(format!("{what}: no label {label} among {labels:?}"))
}

fn all_within(what: &str, labels: &LabelSet, wanted: &Labels) -> Result<LabelSet, String> {
    for label in &wanted.labels {
        within(what, labels, label)?;
    }
    Ok(wanted.labels.iter().cloned().collect())
}

fn labels_of(expression: &str) -> Result<Vec<String>, String> {
    Catalogue::of_metrics().labels(expression).map(|labels| labels.into_iter().collect())
}

#[test]
fn labels_follow_the_operators() {
    let cases: [(&str, &[&str]); 8] = [
        ("weir_vip_announced", &["instance", "job", "vip"]),
        ("sum by (vip) (weir_vip_announced)", &["vip"]),
        ("sum without (job) (weir_vip_announced)", &["instance", "vip"]),
        ("topk(3, sum by (vip) (weir_vip_announced))", &["vip"]),
        ("weir_vip_announced == 0 unless on (vip) weir_vip_withheld", &["instance", "job", "vip"]),
        ("8 * rate(weir_service_bytes_total[1m])", &["instance", "job", "service"]),
        ("weir_flow_slots_used / on (instance) weir_flow_slots", &["instance"]),
        ("absent(weir_build_info)", &[]),
    ];
    for (expression, want) in cases {
        assert_eq!(labels_of(expression).as_deref(), Ok(want.map_owned().as_slice()), "{expression}");
    }
}

#[test]
fn what_does_not_exist_is_found() {
    let cases = [
        "weir_vip_announced{",
        "weir_vip_anounced",
        "weir_vip_announced{pool=\"a\"}",
        "sum by (pool) (weir_vip_announced)",
        "rate(weir_vip_announced[1m])",
        "weir_vip_withheld{reason=\"weather\"} == 1",
        "weir_flow_slots + weir_vip_announced",
        "weir_vip_announced and on (pool) weir_pool_backends",
        "histogram_quantile(0.5, rate(weir_service_packets_total[1m]))",
        "deriv(weir_ready[1m])",
    ];
    for expression in cases {
        assert!(labels_of(expression).is_err(), "{expression}");
    }
}

/// `["a"]` as owned strings.
trait MapOwned {
    fn map_owned(&self) -> Vec<String>;
}

impl MapOwned for &[&str] {
    fn map_owned(&self) -> Vec<String> {
        self.iter().map(|text| (*text).to_owned()).collect()
    }
}
