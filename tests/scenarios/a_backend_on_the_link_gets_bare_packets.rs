// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Given an appliance with a second uplink, and a backend on that link,
//! When a service's pool has the mode `l2`,
//! Then requests get through, and packets reach the backend with nothing put on and with a TTL of 1.

use std::net::SocketAddr;

use weir_lab::document::Checks;
use weir_lab::{Capture, Fabric, Layout, Veth, XdpPass, addresses, requests, wait_until};

use crate::{PATIENCE, weir};

const VIP: [u8; 4] = [198, 51, 100, 99];
const REQUESTS: usize = 40;
const DOCUMENT: &str = "[uplinks.eth1]\nxdp = \"native\"\n\
                        [vips.bare]\naddress = \"198.51.100.99\"\n\
                        [services.bare]\nvip = \"bare\"\nprotocol = \"tcp\"\nport = 80\npool = \"bare\"\n\
                        [pools.bare]\nmode = \"l2\"\nmax_backends = 8\n\
                        [pools.bare.backends.b1]\naddress = \"10.9.0.2\"\n[bgp]\n";

#[test]
#[ignore = "needs root and netns"]
fn nothing_is_put_on_and_nobody_sends_them_round() {
    let layout = Layout { checks: Checks::None, ..Layout::small(weir()) };
    let mut fabric = Fabric::build(&layout).expect("the fabric is built");
    let (lb1, b1) = (&fabric.appliances[0], &fabric.backends[0]);
    Veth { a: (lb1.netns(), "eth1"), b: (b1.netns(), "eth1"), mtu: 1600 }.create().expect("a link");
    addresses((lb1.netns(), "eth1"), &["10.9.0.1/24".to_owned()]).expect("an address");
    addresses((b1.netns(), "eth1"), &["10.9.0.2/24".to_owned()]).expect("an address");
    addresses((b1.netns(), "lo"), &["198.51.100.99/32".to_owned()]).expect("the VIP");
    for key in ["ipv4/conf/all/rp_filter", "ipv4/conf/eth1/rp_filter"] {
        b1.netns().sysctl(key, "0").expect("the way back is another one");
    }
    let _passing = XdpPass::attach(b1.netns(), "eth1").expect("a program, or veth delivers nothing");
    lb1.edit_document("[bgp]\n", DOCUMENT).expect("the document is there");
    fabric.run().expect("the fabric comes up");

    let lb1 = &fabric.appliances[0];
    lb1.wait_announced("bare", PATIENCE).expect("announced");
    wait_until("the route", PATIENCE, || {
        anyhow::ensure!(fabric.routes("198.51.100.99/32")?.contains(&1), "no route");
        Ok(())
    })
    .expect("it is told");
    let b1 = fabric.backends[0].netns();
    let seen =
        Capture::start(b1, "eth1", "dst host 198.51.100.99", &fabric.logs.file("bare.log")).expect("tcpdump");
    let tally = requests(&fabric.client, &[SocketAddr::from((VIP, 80))], REQUESTS).expect("the load runs");
    assert_eq!(tally.failed, 0, "{:?}", tally.reasons);
    wait_until("the packets", PATIENCE, || {
        let text = seen.text();
        let bare =
            text.lines().filter(|line| line.contains("ttl 1,") && line.contains("proto TCP (6)")).count();
        anyhow::ensure!(bare > REQUESTS, "{bare} packets with a TTL of 1");
        Ok(())
    })
    .expect("bare");
}
