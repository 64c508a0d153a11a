// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance that serves a VIP,
//! When a VIP that is a prefix is added, with a service on any port,
//! Then the prefix is announced as it is, all of its addresses are served, on ports that backends listen on and on those
//! that they do not, and it is withdrawn as a whole.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use weir_lab::{requests, wait_until};

use crate::{PATIENCE, load_document, small_fabric};

const PREFIX: &str = "198.51.100.32/28";
const FIRST: [u8; 4] = [198, 51, 100, 32];
const LAST: [u8; 4] = [198, 51, 100, 47];
const OUTSIDE: [u8; 4] = [198, 51, 100, 48];
const REQUESTS: usize = 40;

/// Its pool is another one: its check needs a port, since the service has none.
fn document() -> String {
    let check =
        "{ kind = \"http\", path = \"/healthz\", port = 80, interval = \"500ms\", timeout = \"400ms\" }";
    format!(
        "[vips.all]\naddress = \"{PREFIX}\"\nannounce = {{ up_hold = \"1s\", down_hold = \"1s\" }}\n\
         [services.all]\nvip = \"all\"\nprotocol = \"tcp\"\nport = \"any\"\npool = \"all\"\n\
         [pools.all]\nmode = \"ipip\"\nmax_backends = 8\ncheck = {check}\n\
         [pools.all.backends.b1]\naddress = \"10.1.1.2\"\n[pools.all.backends.b2]\naddress = \"10.1.2.2\"\n"
    )
}

#[test]
#[ignore = "needs root and netns"]
fn all_addresses_and_ports_are_served_while_it_is_announced() {
    let mut fabric = small_fabric();
    for backend in &fabric.backends {
        backend.netns().ip(&format!("route add local {PREFIX} dev lo")).expect("every address is local");
    }
    let lb1 = &fabric.appliances[0];
    lb1.edit_document("[bgp]\n", &format!("{}[bgp]\n", document())).expect("the document is there");
    load_document(lb1);
    let status = lb1.wait_announced("all", PATIENCE).expect("announced");
    assert_eq!(status["address"], PREFIX);
    let is_routed = |fabric: &weir_lab::Fabric| fabric.routes(PREFIX).map(|to| to.contains(&1));
    wait_until("the route", PATIENCE, || {
        anyhow::ensure!(is_routed(&fabric)?, "no route");
        Ok(())
    })
    .expect("the prefix as it is");
    for address in [FIRST, LAST] {
        let target = SocketAddr::from((address, 80));
        let tally = requests(&fabric.client, &[target], REQUESTS).expect("the load runs");
        assert_eq!(tally.failed, 0, "{target}: {:?}", tally.reasons);
        assert_eq!(tally.spread.len(), 2, "{target}: {:?}", tally.spread);
    }
    // Nobody listens on this port, and a backend says so.
    let connect = |address| {
        let target = SocketAddr::from((address, 4711));
        let connected = || TcpStream::connect_timeout(&target, Duration::from_secs(2)).map(drop);
        fabric.client.enter(connected).expect("in the namespace").map_err(|error| error.kind())
    };
    assert_eq!(connect(LAST), Err(ErrorKind::ConnectionRefused));
    assert_ne!(connect(OUTSIDE), Err(ErrorKind::ConnectionRefused));
    let metrics = lb1.metrics().expect("metrics");
    let labels = ["peer=\"tor-v4\"", "prefix=\"198.51.100.32/28\""];
    assert_eq!(metrics.count("weir_bgp_prefix_announced", &labels), 1.0);

    for backend in &mut fabric.backends {
        backend.kill_web().expect("it dies");
    }
    fabric.appliances[0].wait_withheld("all", "backends", PATIENCE).expect("withheld");
    wait_until("the route to go", PATIENCE, || {
        anyhow::ensure!(!is_routed(&fabric)?, "still there");
        Ok(())
    })
    .expect("withdrawn");
}
