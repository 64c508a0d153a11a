// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Scenarios: one file per sentence that an operator would say, each on a network of its own.
//!
//! One test binary, because each binary links for long. All need root and run inside `scripts/isolated.sh` (`make test`).
//! A scenario that fails prints the logs of its daemons.

mod a_backend_on_the_link_gets_bare_packets;
mod a_bfd_path_that_fails_is_out_at_once;
mod a_broken_disk_stops_nothing;
mod a_clean_stop_fails_no_request;
mod a_dead_backend_is_found_and_avoided;
mod a_drained_backend_finishes_its_downloads;
mod a_drained_backend_gets_no_new_flows;
mod a_frozen_daemon_blames_no_backend;
mod a_killed_appliance_is_routed_around;
mod a_killed_daemon_keeps_its_routes;
mod a_killed_daemon_remembers_failed_backends;
mod a_prefix_is_served_as_one_vip;
mod a_reload_touches_only_what_changed;
mod a_restart_adopts_what_is_pinned;
mod a_restart_keeps_the_routes;
mod a_restart_remembers_verdicts;
mod a_session_reset_comes_back;
mod a_vip_answers_pings_while_it_is_up;
mod agents_open_only_our_tunnels;
mod all_backends_down;
mod an_agent_is_killed_and_stopped;
mod an_interrupt_leaves_nothing_behind;
mod an_mtu_that_shrinks_is_learnt;
mod an_uplink_flap_comes_back;
mod backends_that_misbehave_are_named_by_code;
mod bad_input_attaches_nothing;
mod every_mode_reaches_the_backends;
mod hosts_keep_their_own_traffic;
mod large_packets_fit;
mod metrics_are_clean;
mod one_instance_has_one_daemon;
mod overrides_outlive_reload_and_death;
mod sessions_are_told_in_full;
mod status_says_why_a_vip_is_not_announced;
mod the_dashboard_has_data;
mod the_units_rights_suffice;
mod traffic_spreads_over_everything;
mod two_switches_share_the_traffic;
mod uplinks_with_tags_and_bonds;
mod what_a_dead_daemon_left_can_be_removed;

use std::path::PathBuf;
use std::time::Duration;

use weir_lab::document::Checks;
use weir_lab::{Appliance, Fabric, Layout, wait_until};

/// Generous, for what only has to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test.
fn weir() -> PathBuf {
    env!("CARGO_BIN_EXE_weir").into()
}

/// Two appliances and three backends, announced and carrying traffic.
fn fabric() -> Fabric {
    Fabric::up(&Layout { checks: Checks::Quick, ..Layout::demo(weir()) }).expect("the fabric comes up")
}

/// The same, but peers forget an appliance as soon as its sessions end.
fn fabric_without_graceful_restart() -> Fabric {
    let layout = Layout { checks: Checks::Quick, ..Layout::demo(weir()) };
    let mut fabric = Fabric::build(&layout).expect("the fabric is built");
    for appliance in &fabric.appliances {
        let edited = appliance.edit_document("asn = 65010\n", "asn = 65010\ngraceful_restart = \"off\"\n");
        edited.expect("the document is written");
    }
    fabric.run().expect("the fabric comes up");
    fabric
}

/// One appliance and two backends, announced and carrying traffic.
fn small_fabric() -> Fabric {
    Fabric::up(&Layout { checks: Checks::Quick, ..Layout::small(weir()) }).expect("the fabric comes up")
}

/// One appliance and two backends; no daemon of ours runs yet.
fn quiet_fabric() -> Fabric {
    Fabric::build(&Layout { checks: Checks::Quick, ..Layout::small(weir()) }).expect("the fabric is built")
}

/// Makes an appliance load its document, which has changed, and waits until it is in force.
fn load_document(appliance: &Appliance) {
    let applied = || {
        let status = appliance.status()?;
        let generation = status["document"]["applied_generation"].as_u64();
        generation.ok_or_else(|| anyhow::anyhow!("no generation in {status}"))
    };
    let before = applied().expect("a generation");
    let reply = appliance.api().reload().expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.body);
    wait_until("the new document to be in force", PATIENCE, || {
        let now = applied()?;
        anyhow::ensure!(now > before, "generation {now}");
        Ok(())
    })
    .expect("in force");
}
