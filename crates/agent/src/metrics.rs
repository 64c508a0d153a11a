// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What the agent tells Prometheus, read from the kernel's counters at each scrape.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{IntCounterVec, IntGauge, Opts, Registry};

use crate::kernel::{AgentCounters, Count, Kernel};

/// The kernel's part, shared between the loop that writes tables and scrapes that read counters.
pub(crate) type SharedKernel = Arc<Mutex<Option<Kernel>>>;

/// What was counted, or `None` once the program is detached.
pub(crate) fn counters(kernel: &SharedKernel) -> Option<AgentCounters> {
    // A panic elsewhere leaves the tables as they are: counters can still be read.
    let kernel = kernel.lock().unwrap_or_else(PoisonError::into_inner);
    match kernel.as_ref()?.counters() {
        Ok(counters) => Some(counters),
        Err(error) => {
            tracing::warn!(%error, "counters not read");
            None
        }
    }
}

/// Makes a registry with all metrics of the agent.
pub(crate) fn registry(kernel: SharedKernel, addresses: IntGauge) -> Result<Registry, prometheus::Error> {
    let registry = Registry::new();
    registry.register(Box::new(KernelCollector::new(kernel)?))?;
    registry.register(Box::new(addresses))?;
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
    Ok(registry)
}

/// Name and help of the gauge of addresses.
const ADDRESSES: (&str, &str) =
    ("weir_agent_addresses", "Addresses of this host that tunnel packets may be for.");

/// Number of addresses that tunnel packets may be for.
pub(crate) fn addresses_gauge() -> Result<IntGauge, prometheus::Error> {
    let (name, help) = ADDRESSES;
    IntGauge::new(name, help)
}

/// The counters of the program.
struct KernelCollector {
    kernel: SharedKernel,
    descriptions: Vec<Desc>,
}

/// One counter with one label, made anew at each scrape.
struct Family {
    name: &'static str,
    help: &'static str,
    label: &'static str,
}

const FAMILIES: [Family; 5] = [
    Family {
        name: "weir_agent_packets_total",
        help: "Packets by the way they left the agent's program.",
        label: "verdict",
    },
    Family {
        name: "weir_agent_bytes_total",
        help: "Bytes of frames as received, by the way they left the agent's program.",
        label: "verdict",
    },
    Family {
        name: "weir_agent_vip_packets_total",
        help: "Packets decapsulated, by the VIP prefix of the document.",
        label: "vip",
    },
    Family {
        name: "weir_agent_vip_bytes_total",
        help: "Bytes of inner packets decapsulated, by the VIP prefix of the document.",
        label: "vip",
    },
    Family {
        name: "weir_agent_mss_packets_total",
        help: "SYN-ACKs of VIPs, by what became of the MSS they announce.",
        label: "result",
    },
];

impl Family {
    fn filled<L: AsRef<str>>(&self, values: impl Iterator<Item = (L, u64)>) -> Vec<MetricFamily> {
        // The names and labels were accepted when the collector was registered.
        let Ok(vec) = IntCounterVec::new(Opts::new(self.name, self.help), &[self.label]) else {
            return Vec::new();
        };
        for (label, value) in values {
            vec.with_label_values(&[label.as_ref()]).inc_by(value);
        }
        vec.collect()
    }
}

impl KernelCollector {
    fn new(kernel: SharedKernel) -> Result<Self, prometheus::Error> {
        let describe = |family: &Family| {
            let (name, help, label) =
                (family.name.to_owned(), family.help.to_owned(), family.label.to_owned());
            Desc::new(name, help, vec![label], HashMap::new())
        };
        let descriptions = FAMILIES.iter().map(describe).collect::<Result<_, _>>()?;
        Ok(Self { kernel, descriptions })
    }
}

impl Collector for KernelCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let Some(AgentCounters { verdicts, vips, mss }) = counters(&self.kernel) else { return Vec::new() };
        let [packets, bytes, vip_packets, vip_bytes, mss_packets] = &FAMILIES;
        let of_verdicts =
            |value: fn(&Count) -> u64| verdicts.iter().map(move |(v, count)| (v.name(), value(count)));
        let of_vips =
            |value: fn(&Count) -> u64| vips.iter().map(move |(vip, count)| (vip.to_string(), value(count)));
        [
            packets.filled(of_verdicts(|count| count.packets)),
            bytes.filled(of_verdicts(|count| count.bytes)),
            vip_packets.filled(of_vips(|count| count.packets)),
            vip_bytes.filled(of_vips(|count| count.bytes)),
            mss_packets.filled(mss.iter().map(|(verdict, count)| (verdict.name(), count.packets))),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use weir_dataplane_core::decap::AgentVerdict;
    use weir_dataplane_core::mss::MssVerdict;

    use super::*;

    fn page(path: &str) -> String {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path);
        std::fs::read_to_string(file).unwrap()
    }

    /// First cells of a page's tables, of those that are code.
    fn firsts(page: &str) -> BTreeSet<&str> {
        let cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        cells.flat_map(|cell| cell.split(", ")).map(|name| name.trim_matches('`')).collect()
    }

    #[test]
    fn the_reference_has_every_metric_and_no_other() {
        let page = page("reference/agent.md");
        let (name, help) = ADDRESSES;
        let counters =
            FAMILIES.map(|Family { name, help, label }| (name, format!("counter | `{label}` | {help}")));
        let all = counters.into_iter().chain([(name, format!("gauge | | {help}"))]);
        for (name, row) in all.clone() {
            assert!(page.contains(&format!("| `{name}` | {row} |\n")), "{name}: {row}");
        }
        let listed = firsts(&page).into_iter().filter(|name| name.starts_with("weir_agent_"));
        assert_eq!(listed.collect::<BTreeSet<_>>(), all.map(|(name, _)| name).collect());
    }

    #[test]
    fn values_of_labels_are_explained() {
        let (reference, troubleshoot) = (page("reference/agent.md"), page("operating/troubleshoot.md"));
        let (_, results) = reference.split_once("| result |").unwrap();
        assert_eq!(firsts(results), MssVerdict::ALL.iter().map(|verdict| verdict.name()).collect());
        let (_, verdicts) = troubleshoot.split_once("weir_agent_packets_total").unwrap();
        let (verdicts, _) = verdicts.split_once("\n`tcpdump`").unwrap();
        assert_eq!(firsts(verdicts), AgentVerdict::ALL.iter().map(|verdict| verdict.name()).collect());
    }
}
