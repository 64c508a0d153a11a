// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Every metric: name, type, labels, help. No other file of the project names one of the appliance's metrics.
//!
//! Base units; `_total` on counters and nowhere else; `_info` is always 1; state is one series per value of a closed set.

/// A metric family.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// Full name.
    pub name: &'static str,
    /// What it counts, for people.
    pub help: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// Label names, in the order in which values are given.
    pub labels: &'static [&'static str],
}

/// How a metric moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only up, from 0 at the start of the process or of the pinned maps.
    Counter,
    /// Up and down.
    Gauge,
    /// A distribution: `_bucket`, `_sum` and `_count`.
    Histogram,
}

macro_rules! metrics {
    ($($constant:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub const $constant: Metric =
            Metric { name: $name, help: $help, kind: Kind::$kind, labels: &[$($label),*] };)*
        /// All families, in the order in which they are written.
        pub const ALL: &[&Metric] = &[$(&$constant),*];
    };
}

metrics! {
    BUILD_INFO = Gauge "weir_build_info" ["version", "commit", "rustc", "kernel"]
        "Always 1: the program and the kernel it runs on.";
    START_TIME = Gauge "weir_start_time_seconds" []
        "When this process started, in seconds since 1970.";
    READY = Gauge "weir_ready" []
        "Whether the start is over: document applied, dataplane attached, API and speaker running. `/readyz` also says what was lost since.";
    DOCUMENT_GENERATION = Gauge "weir_document_generation" ["stage"]
        "Generation of the document by stage; equal when the accepted one is in force.";
    DOCUMENT_INFO = Gauge "weir_document_info" ["hash", "owner"]
        "Always 1: content hash of the accepted document and who owns it.";
    DOCUMENT_LAST_SUCCESS = Gauge "weir_document_last_success_timestamp_seconds" []
        "When a document was last accepted.";
    DOCUMENT_LAST_REJECTED = Gauge "weir_document_last_rejected_timestamp_seconds" []
        "When a document was last refused; absent when none was.";
    DOCUMENT_CHANGES = Counter "weir_document_changes_total" ["result"]
        "Documents read since the start, by what became of them.";
    OVERRIDES = Gauge "weir_overrides" ["kind"]
        "Overrides in force by what they ask for; a forgotten drain shows here.";
    CONDITION = Gauge "weir_condition" ["code", "severity"]
        "Always 1 while the condition holds; absent when it does not. `weir status` says it in words.";
    RECONCILE_PASSES = Counter "weir_reconcile_passes_total" ["result"]
        "Passes of the reconciler by result.";
    RECONCILE_LAST_DURATION = Gauge "weir_reconcile_last_duration_seconds" []
        "How long the last pass took.";
    VIP_ANNOUNCE_DESIRED = Gauge "weir_vip_announce_desired" ["vip"]
        "Whether the VIP shall be announced now.";
    VIP_ANNOUNCED = Gauge "weir_vip_announced" ["vip"]
        "Whether at least one Established peer was told of the VIP.";
    VIP_WITHHELD = Gauge "weir_vip_withheld" ["vip", "reason"]
        "Whether this reason keeps the VIP from being announced.";
    VIP_TRANSITIONS = Counter "weir_vip_transitions_total" ["vip", "to"]
        "Times the VIP began or ceased to be wanted announced.";
    SERVICE_PACKETS = Counter "weir_service_packets_total" ["service"]
        "Packets from clients to the service.";
    SERVICE_BYTES = Counter "weir_service_bytes_total" ["service"]
        "Bytes from clients to the service.";
    SERVICE_FLOWS_CREATED = Counter "weir_service_flows_created_total" ["service"]
        "Flows that began on the service.";
    POOL_BACKENDS = Gauge "weir_pool_backends" ["pool", "state"]
        "Backends of the pool by state.";
    POOL_USABLE_WEIGHT = Gauge "weir_pool_usable_weight_ratio" ["pool"]
        "Weight of the usable backends over that of all that operators did not take out.";
    BACKEND_UP = Gauge "weir_backend_up" ["pool", "backend"]
        "Whether the backend takes new flows.";
    BACKEND_STATE = Gauge "weir_backend_state" ["pool", "backend", "state"]
        "What the backend may receive, one series per state.";
    BACKEND_TRANSITIONS = Counter "weir_backend_transitions_total" ["pool", "backend", "to"]
        "Times the backend entered the state.";
    BACKEND_CHANGE_DELAY = Histogram "weir_backend_change_delay_seconds" []
        "From the check result that decided until the kernel's rows followed.";
    BACKEND_FLOWS = Gauge "weir_backend_flows" ["pool", "backend"]
        "Flows in the flow table that belong to the backend, when last counted.";
    BACKEND_WEIGHT = Gauge "weir_backend_weight" ["pool", "backend"]
        "Base weight of the backend.";
    BACKEND_PACKETS = Counter "weir_backend_packets_total" ["pool", "backend"]
        "Packets sent to the backend.";
    BACKEND_BYTES = Counter "weir_backend_bytes_total" ["pool", "backend"]
        "Bytes sent to the backend, without the outer header.";
    BACKEND_FLOWS_CREATED = Counter "weir_backend_flows_created_total" ["pool", "backend"]
        "Flows that began on the backend.";
    NEXTHOP_RESOLVED = Gauge "weir_nexthop_resolved" ["pool", "backend"]
        "Whether there is a way to the backend: route, neighbour and link.";
    HEALTHCHECK_RESULTS = Counter "weir_healthcheck_results_total" ["pool", "kind", "result"]
        "Attempts by result: ok, or the code of the failure.";
    HEALTHCHECK_DURATION = Histogram "weir_healthcheck_duration_seconds" ["pool", "kind"]
        "How long attempts took.";
    HEALTHCHECK_LATENESS = Histogram "weir_healthcheck_lateness_seconds" []
        "How late attempts started.";
    HEALTHCHECK_IN_FLIGHT = Gauge "weir_healthcheck_in_flight" []
        "Attempts under way.";
    HEALTHCHECK_SCHEDULED = Gauge "weir_healthcheck_scheduled" []
        "Checks that run: one for each backend and each address and port that its pool serves.";
    HEALTHCHECK_VERDICTS = Gauge "weir_healthcheck_verdicts" ["verdict"]
        "Checks by what they say.";
    HEALTHCHECK_OVERLOADED = Gauge "weir_healthcheck_overloaded" []
        "Whether the checker cannot keep its times; no backend goes down meanwhile.";
    HEALTHCHECK_PATH_PACKETS = Counter "weir_healthcheck_path_packets_total" ["outcome"]
        "Packets of checks by what the path into the tunnel did with them: encapsulated, or dropped as stray, unknown_backend, unresolved, not_ip, failed.";
    XDP_PACKETS = Counter "weir_xdp_packets_total" ["uplink", "verdict"]
        "Packets by the way they left the program; several uplinks are counted together and named in one label, with commas.";
    XDP_LOST = Counter "weir_xdp_lost_frames_total" ["reason"]
        "Frames that the program sent and the kernel lost since the daemon started, absent where the kernel does not let them be counted; driver and exception also count those of other XDP programs.";
    XDP_ATTACHED = Gauge "weir_xdp_attached" ["uplink", "mode"]
        "Whether the program runs on the uplink.";
    FLOW_SLOTS = Gauge "weir_flow_slots" []
        "Slots of the flow table.";
    FLOW_SLOTS_USED = Gauge "weir_flow_slots_used" []
        "Slots of the flow table in use when last counted.";
    BGP_SESSION_UP = Gauge "weir_bgp_session_up" ["peer"]
        "Whether the session is Established.";
    BGP_SESSION_STATE = Gauge "weir_bgp_session_state" ["peer", "state"]
        "State of the session, one series per state.";
    BGP_SESSION_ESTABLISHED = Gauge "weir_bgp_session_established_timestamp_seconds" ["peer"]
        "When the session became Established; absent while it is not.";
    BGP_SESSION_TRANSITIONS = Counter "weir_bgp_session_transitions_total" ["peer", "to"]
        "Times the session became Established or went down.";
    BGP_HOLD_TIME = Gauge "weir_bgp_hold_time_seconds" ["peer"]
        "Hold time that both sides agreed on; absent when neither watches, or there is no session.";
    BGP_GRACEFUL_RESTART = Gauge "weir_bgp_graceful_restart_agreed" ["peer"]
        "Whether the peer keeps our routes while we restart.";
    BGP_MESSAGES = Counter "weir_bgp_messages_total" ["peer", "direction", "type"]
        "BGP messages by direction and type.";
    BGP_NOTIFICATIONS = Counter "weir_bgp_notifications_total" ["peer", "direction", "code", "subcode"]
        "NOTIFICATION messages by direction, error code and subcode; code 0 is all that are not registered. Absent until there was one.";
    BGP_PREFIXES = Gauge "weir_bgp_prefixes" ["peer", "family", "direction"]
        "Prefixes that the peer was told (advertised) and has told us (received), by family.";
    BGP_STALE_PREFIXES = Gauge "weir_bgp_stale_prefixes" ["peer", "family"]
        "Prefixes of a peer that restarts, kept and not told again yet.";
    BGP_PREFIX_LIMIT = Gauge "weir_bgp_prefix_limit" ["peer", "family"]
        "Prefixes that the peer may tell us; one more ends the session.";
    BGP_PREFIX_LIMIT_REACHED = Counter "weir_bgp_prefix_limit_reached_total" ["peer", "direction"]
        "Sessions that ended over a prefix limit: ours (sent), or the peer's (received).";
    BGP_PREFIXES_RECEIVED = Counter "weir_bgp_prefixes_received_total" ["peer", "family", "action"]
        "Prefixes in what the peer sent: announced, withdrawn, or with our own AS in their path (loop).";
    BGP_PREFIX_ANNOUNCED = Gauge "weir_bgp_prefix_announced" ["peer", "prefix"]
        "Whether the peer was told of the VIP's prefix.";
    BGP_TREAT_AS_WITHDRAW = Counter "weir_bgp_treat_as_withdraw_total" ["peer"]
        "UPDATE messages treated as a withdraw for a malformed attribute (RFC 7606).";
    BGP_ATTRIBUTES_DISCARDED = Counter "weir_bgp_attributes_discarded_total" ["peer"]
        "UPDATE messages of which a malformed attribute was discarded (RFC 7606).";
    BGP_ROUTER_ADVERTISEMENTS = Counter "weir_bgp_router_advertisements_total" ["peer", "outcome"]
        "Router advertisements on the interface of an unnumbered peer: sent, received, ignored as not valid.";
    BGP_UPDATE_DELAY = Histogram "weir_bgp_update_delay_seconds" []
        "From the decision to announce or withdraw until it was written to the peers.";
    BGP_PEER_INFO = Gauge "weir_bgp_peer_info" ["peer", "remote_as", "address", "interface"]
        "Always 1: who the peer is.";
    BGP_STRANGERS = Counter "weir_bgp_strangers_total" []
        "Connections from addresses that are no peer's.";
    BGP_REFUSED = Counter "weir_bgp_connections_refused_total" []
        "Connections of peers that were closed because there were too many at once.";
    BGP_FAULTS = Gauge "weir_bgp_faults" []
        "What an operator has to mend: keys that cannot be, routes that the kernel does not take. `weir show bgp` says it in words.";
    BGP_REJECTED = Gauge "weir_bgp_rejected_prefixes" []
        "Prefixes that were to be announced and cannot be.";
    BGP_IMPORTED = Gauge "weir_bgp_imported_default" ["family"]
        "Whether a default route of a peer is in the kernel; only families that a peer may give.";
    BGP_IMPORTED_NEXT_HOPS = Gauge "weir_bgp_imported_next_hops" ["family"]
        "Next hops of the imported default route.";
    BFD_SESSION_UP = Gauge "weir_bfd_session_up" ["peer"]
        "Whether BFD with the peer is up; only peers that the document gives BFD.";
    BFD_SESSION_STATE = Gauge "weir_bfd_session_state" ["peer", "state"]
        "State of BFD with the peer, one series per state.";
    BFD_TRANSITIONS = Counter "weir_bfd_session_transitions_total" ["peer", "to"]
        "Times BFD with the peer came up or went down.";
    BFD_NEVER_UP = Gauge "weir_bfd_never_up" ["peer"]
        "Whether BFD is configured and was never up, so that it protects nothing.";
    BFD_DETECTION_TIME = Gauge "weir_bfd_detection_time_seconds" ["peer"]
        "Silence of the peer that BFD takes for the end; absent while nothing is heard of it.";
    API_REQUESTS = Counter "weir_api_requests_total" ["route", "method", "code"]
        "Requests answered, by template of the path.";
    API_REQUEST_DURATION = Histogram "weir_api_request_duration_seconds" ["route"]
        "From the head of a request to the head of its answer.";
    METRICS_DROPPED = Gauge "weir_metrics_dropped_series" []
        "Series of backends that are left out, because there would be more than 100,000: first those of states, then all.";
    EVENT_WATCHERS = Gauge "weir_event_watchers" []
        "Readers of events right now.";
    EVENTS_DROPPED = Counter "weir_events_dropped_total" []
        "Readers of events that were cut off because they were too slow.";
}
