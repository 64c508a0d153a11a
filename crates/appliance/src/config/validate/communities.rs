// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Rules about communities: each name that is used is given a value in `[bgp.communities]`.

use crate::config::nearest::nearest;
use crate::config::read::{AttributesDraft, CommunityWord, Draft};
use crate::config::report::Report;
use crate::model::Community;

pub(super) fn validate(report: &mut Report, draft: &Draft) {
    for (name, vip) in &draft.vips {
        names(report, draft, &format!("vips.{name}.announce.communities"), &vip.announce.attributes);
    }
    for (name, peer) in &draft.peers {
        names(report, draft, &format!("peers.{name}.communities"), &peer.export);
    }
}

fn names(report: &mut Report, draft: &Draft, path: &str, attributes: &AttributesDraft) {
    for word in attributes.communities.iter().flatten() {
        let CommunityWord::Name(name) = word else { continue };
        if draft.bgp.communities.contains_key(name) {
            continue;
        }
        let given = draft.bgp.communities.keys().map(String::as_str);
        let known = given.chain(Community::WELL_KNOWN.iter().map(|(name, _)| *name));
        let help = match nearest(name, known) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("give it a value: `{name} = \"65010:100\"` in `[bgp.communities]`"),
        };
        report.at(path, format!("found `{name}`, no community has this name"), help);
    }
}
