// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What announcements carry: `med`, `prepend`, `communities` of VIPs and peers, and the names of communities.

use std::collections::{BTreeMap, BTreeSet};

use toml::Spanned;
use toml::de::DeValue;

use crate::config::limits;
use crate::config::report::Report;
use crate::config::section::Section;
use crate::config::shape::{Key, Values};
use crate::config::value::{self, Wrong, found};
use crate::model::{Attributes, Community};

pub(super) const MED: Key = Key::optional(
    "med",
    Values::Number(0..=u32::MAX),
    "none",
    "MULTI_EXIT_DISC of the announcement; peers prefer the lowest among paths of one AS",
);
pub(super) const PREPEND: Key = Key::or(
    "prepend",
    Values::Number(0..=limits::PREPEND_MAX),
    "0",
    "How many more times the own AS number is put in the path; peers prefer shorter ones",
);
pub(super) const COMMUNITIES: Key = Key::or(
    "communities",
    Values::Text("list of at most 32 of `\"65010:100\"`, `\"65010:1:2\"` and names"),
    "[]",
    "Standard (two parts) and large (three parts) communities; names are those of `bgp.communities` and `graceful-shutdown`, \
     `blackhole`, `no-export`, `no-advertise`, `no-export-subconfed`, `no-peer`",
);

const COMMUNITY_HELP: &str = "write `\"65010:100\"`, `\"65010:1:2\"` or a name of `bgp.communities`";

/// A community as the document writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) enum CommunityWord {
    /// Its value, or a name that it has everywhere.
    Value(Community),
    /// A name of `bgp.communities`.
    Name(String),
}

/// Attributes as read.
#[derive(Debug)]
pub(in crate::config) struct AttributesDraft {
    med: Option<Option<u32>>,
    prepend: Option<u8>,
    pub(in crate::config) communities: Option<Vec<CommunityWord>>,
}

/// Names of communities as read; `None`: one whose value is wrong.
pub(in crate::config) type CommunityNames = BTreeMap<String, Option<Community>>;

/// Reads the three keys of a section.
pub(super) fn read(report: &mut Report, section: &Section<'_>) -> AttributesDraft {
    AttributesDraft {
        med: section.optional(report, "med", value::number(0..=u32::MAX)),
        prepend: section.or(report, "prepend", 0, prepend),
        communities: section.or(report, "communities", Vec::new(), communities),
    }
}

/// Reads the names that `[bgp]` gives to communities.
pub(super) fn read_names(report: &mut Report, bgp: &Section<'_>) -> CommunityNames {
    let mut names = BTreeMap::new();
    for entry in bgp.entries(report, "communities", value::is_name, value::NAME_RULE) {
        let community = entry.parse(report, |written| {
            if well_known(&entry.name).is_some() {
                let message = format!("`{}` is the name of a well-known community", entry.name);
                return Err(Wrong::new(message, "choose another name; this one can be used as it is"));
            }
            match community(written)? {
                CommunityWord::Value(community) => Ok(community),
                CommunityWord::Name(_) => Err(not_a_community(written)),
            }
        });
        names.insert(entry.name.clone(), community);
    }
    names
}

impl AttributesDraft {
    /// The attributes, with the names of communities resolved.
    pub(super) fn finish(self, names: &BTreeMap<String, Community>) -> Option<Attributes> {
        let resolved = self.communities?.into_iter().map(|word| match word {
            CommunityWord::Value(community) => Some(community),
            CommunityWord::Name(name) => names.get(&name).copied(),
        });
        Some(Attributes {
            med: self.med?,
            prepend: self.prepend?,
            communities: resolved.collect::<Option<BTreeSet<Community>>>()?,
        })
    }
}

/// How often the own AS number is put in the path besides.
pub(super) fn prepend(written: &DeValue<'_>) -> Result<u8, Wrong> {
    // The limit fits an octet.
    value::number(0..=limits::PREPEND_MAX)(written).map(|count| u8::try_from(count).unwrap_or(u8::MAX))
}

fn communities(written: &DeValue<'_>) -> Result<Vec<CommunityWord>, Wrong> {
    let DeValue::Array(items) = written else {
        let message = format!("found {}, expected a list of communities", found(written));
        return Err(Wrong::new(message, COMMUNITY_HELP));
    };
    if items.len() > limits::COMMUNITIES_MAX {
        let most = limits::COMMUNITIES_MAX;
        let message = format!("found {} communities, expected at most {most}", items.len());
        return Err(Wrong::new(message, "list fewer"));
    }
    let mut words = Vec::new();
    for item in items.iter().map(Spanned::get_ref) {
        let word = community(item)?;
        if words.contains(&word) {
            return Err(Wrong::new(format!("found {} twice", found(item)), "list each community once"));
        }
        words.push(word);
    }
    Ok(words)
}

fn community(written: &DeValue<'_>) -> Result<CommunityWord, Wrong> {
    let text = written.as_str().ok_or_else(|| not_a_community(written))?;
    if let Some(community) = well_known(text) {
        return Ok(CommunityWord::Value(community));
    }
    if value::is_name(text) && !text.bytes().all(|b| b.is_ascii_digit()) {
        return Ok(CommunityWord::Name(text.to_owned()));
    }
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let parts: Option<Vec<u32>> =
        text.split(':').map(|part| Some(part).filter(is_number)?.parse().ok()).collect();
    match parts.as_deref() {
        Some(&[high, low]) => match (u16::try_from(high), u16::try_from(low)) {
            (Ok(_), Ok(_)) => Ok(CommunityWord::Value(Community::Standard(high << 16 | low))),
            _ => {
                let message =
                    format!("found {}, the parts of a standard community end at 65535", found(written));
                Err(Wrong::new(message, format!("write it as a large community: `\"{high}:0:{low}\"`")))
            }
        },
        Some(&[global, first, second]) => Ok(CommunityWord::Value(Community::Large([global, first, second]))),
        Some(_) | None => Err(not_a_community(written)),
    }
}

fn not_a_community(written: &DeValue<'_>) -> Wrong {
    Wrong::new(format!("found {}, expected a community", found(written)), COMMUNITY_HELP)
}

fn well_known(name: &str) -> Option<Community> {
    Community::WELL_KNOWN.iter().find(|(known, _)| *known == name).map(|(_, community)| *community)
}
