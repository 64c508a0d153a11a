// SPDX-License-Identifier: Apache-2.0 OR MIT
//! UPDATE (RFC 4271 §4.3): framing, then attributes, then the verdict of RFC 7606.
//!
//! ```text
//!   withdrawn length(2) withdrawn … attribute length(2) attributes … NLRI …
//! ```

use std::net::IpAddr;

use super::attribute::{self, Finding, Findings, PathAttributes, Treatment};
use super::cursor::Cursor;
use super::error::UpdateError;
use super::iana::attribute_code as code;
use super::message::DecodeContext;
use super::nlri;
use crate::advertise::Prefix;
use crate::config::Family;

/// A decoded UPDATE and what was wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The classic withdrawn field.
    pub withdrawn: Vec<Prefix>,
    /// What could be read of the attributes.
    pub attributes: PathAttributes,
    /// The classic NLRI field.
    pub nlri: Vec<Prefix>,
    /// The first few things that were wrong.
    pub findings: Vec<Finding>,
    /// The gravest of them all.
    pub treatment: Option<Treatment>,
    /// There are attributes, known or not.
    has_attributes: bool,
}

impl Update {
    /// Reads a body of at least four octets.
    pub fn decode(body: &[u8], context: &DecodeContext) -> Result<Self, UpdateError> {
        let mut cursor = Cursor::new(body);
        let withdrawn = field(&mut cursor).ok_or(UpdateError::Length { what: "withdrawn routes" })?;
        let block = field(&mut cursor).ok_or(UpdateError::Length { what: "path attributes" })?;
        let network = |what| move |bad: nlri::BadPrefix| UpdateError::Network { what, length: bad.length };
        let withdrawn = nlri::decode(Family::Ipv4Unicast, withdrawn).map_err(network("withdrawn routes"))?;
        let nlri = nlri::decode(Family::Ipv4Unicast, cursor.rest()).map_err(network("NLRI"))?;
        let mut findings = Findings::default();
        let attributes = attribute::decode(block, context, &mut findings)?;
        if let (Some(next_hop), false) = (attributes.next_hop, nlri.is_empty()) {
            attribute::check_next_hop(code::NEXT_HOP, IpAddr::V4(next_hop), context, &mut findings);
        }
        check_mandatory(&attributes, !nlri.is_empty(), &mut findings);
        Ok(Self {
            withdrawn,
            attributes,
            nlri,
            findings: findings.kept,
            treatment: findings.worst,
            has_attributes: !block.is_empty(),
        })
    }

    /// Whether the announced prefixes count as withdrawn.
    pub fn is_treated_as_withdraw(&self) -> bool {
        self.treatment == Some(Treatment::TreatAsWithdraw)
    }

    /// The family whose initial routes are complete: an empty UPDATE, or an empty MP_UNREACH alone (RFC 4724 §2).
    pub fn end_of_rib(&self) -> Option<Family> {
        if !self.withdrawn.is_empty() || !self.nlri.is_empty() || self.treatment.is_some() {
            return None;
        }
        let unreach = self.attributes.mp_unreach.as_ref();
        let is_alone = self.attributes
            == PathAttributes { mp_unreach: self.attributes.mp_unreach.clone(), ..Default::default() };
        match unreach {
            _ if !is_alone => None,
            // An attribute of which nothing is kept is one all the same.
            None => (!self.has_attributes).then_some(Family::Ipv4Unicast),
            Some(unreach) if unreach.nlri.is_empty() => unreach.family.family(),
            Some(_) => None,
        }
    }

    /// Prefixes announced, of both forms, also if they count as withdrawn.
    pub fn announced(&self) -> impl Iterator<Item = Prefix> + '_ {
        let reach = self.attributes.mp_reach.iter().flat_map(|r| &r.nlri);
        self.nlri.iter().chain(reach).copied()
    }

    /// Prefixes withdrawn by the message's own words, of both forms.
    pub fn withdrawals(&self) -> impl Iterator<Item = Prefix> + '_ {
        let unreach = self.attributes.mp_unreach.iter().flat_map(|u| &u.nlri);
        self.withdrawn.iter().chain(unreach).copied()
    }

    /// Whether the path has been through AS `asn`.
    pub fn has_loop(&self, asn: u32) -> bool {
        let paths = [&self.attributes.as_path, &self.attributes.as4_path];
        paths.into_iter().flatten().any(|path| path.contains(asn))
    }
}

fn field<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let length = cursor.u16()?;
    cursor.take(usize::from(length))
}

/// What announced prefixes must come with; a missing attribute withdraws (RFC 7606 §3 d).
fn check_mandatory(attributes: &PathAttributes, has_classic_nlri: bool, findings: &mut Findings) {
    let has_mp_nlri = attributes.mp_reach.as_ref().is_some_and(|r| !r.nlri.is_empty());
    if !has_classic_nlri && !has_mp_nlri {
        return;
    }
    if attributes.origin.is_none() {
        findings.withdraw(code::ORIGIN, "missing");
    }
    if attributes.as_path.is_none() {
        findings.withdraw(code::AS_PATH, "missing");
    }
    if has_classic_nlri && attributes.next_hop.is_none() {
        findings.withdraw(code::NEXT_HOP, "missing");
    }
}

#[cfg(test)]
mod tests;
