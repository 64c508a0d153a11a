// SPDX-License-Identifier: Apache-2.0 OR MIT
//! A ToR in words that FRR, BIRD and GoBGP all have: its sessions, what it learnt over them, what it can be ordered to do.
//!
//! Scenarios say the same of three daemons; what differs between those is written here and in `dialect`, once.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::bgp_bed::{BedLink, BgpBed};
use crate::bird::Bird;
use crate::dialect;
use crate::document::{APPLIANCE_AS, TOR_AS};
use crate::frr::Frr;
use crate::gobgp::GoBgp;
use crate::wait::wait_until;

/// Who plays the ToR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Daemon {
    /// FRR: zebra, bgpd, and bfdd if a session wants it.
    Frr,
    /// BIRD 2.
    Bird,
    /// gobgpd, which puts nothing into the kernel.
    GoBgp,
}

impl Daemon {
    /// All of them, in the order in which `BgpBed`'s ToRs run them where there are three.
    pub const ALL: [Daemon; 3] = [Daemon::Frr, Daemon::Bird, Daemon::GoBgp];
}

/// Between which addresses a session runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// The link's IPv4 addresses.
    V4,
    /// The link's global IPv6 addresses.
    V6,
    /// The interface: link-local addresses, learnt where the daemon can.
    Unnumbered,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::V4, Transport::V6, Transport::Unnumbered];
}

/// One session of a ToR.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TorSession {
    /// Over which link.
    pub link: BedLink,
    /// Between which addresses.
    pub transport: Transport,
    /// IPv4 prefixes are exchanged; over IPv6 with IPv6 next hops.
    pub has_ipv4: bool,
    /// IPv6 prefixes are exchanged.
    pub has_ipv6: bool,
    /// Key of TCP MD5.
    pub md5: Option<String>,
    /// TTL 255 is sent and required.
    pub has_gtsm: bool,
    /// BFD at three times this.
    pub bfd: Option<Duration>,
    /// Graceful restart is offered with both families, and routes of a restarting peer are kept.
    pub has_graceful_restart: bool,
    /// More prefixes than this end the session.
    pub prefixes_max: Option<u32>,
    /// A default route of each family is announced.
    pub originates_default: bool,
    /// AS number of the host.
    pub host_as: u32,
}

impl TorSession {
    /// Both families over this transport of this link, with nothing further.
    pub fn plain(link: BedLink, transport: Transport) -> TorSession {
        TorSession {
            link,
            transport,
            has_ipv4: true,
            has_ipv6: true,
            md5: None,
            has_gtsm: false,
            bfd: None,
            has_graceful_restart: false,
            prefixes_max: None,
            originates_default: false,
            host_as: APPLIANCE_AS,
        }
    }

    /// Name of the session: `h1v4`, `h1v6`, `h1ll`.
    pub fn name(&self) -> String {
        let suffix = match self.transport {
            Transport::V4 => "v4",
            Transport::V6 => "v6",
            Transport::Unnumbered => "ll",
        };
        format!("{}{suffix}", self.link.tor_interface())
    }

    /// The host's address as the ToR's configuration and answers name it.
    pub fn neighbour(&self, daemon: Daemon) -> String {
        let (v4, v6) = self.link.host_addresses();
        match (self.transport, daemon) {
            (Transport::V4, _) => v4.to_string(),
            (Transport::V6, _) => v6.to_string(),
            (Transport::Unnumbered, Daemon::GoBgp) => {
                format!("{}%{}", self.link.host_link_local(), self.link.tor_interface())
            }
            (Transport::Unnumbered, Daemon::Frr | Daemon::Bird) => self.link.tor_interface(),
        }
    }
}

/// A path that a ToR learnt. What a daemon does not tell is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Learnt {
    /// Over which session: FRR says the address or interface, BIRD the session's name, GoBGP the
    /// identifier of the router.
    pub from: String,
    /// Its next hop.
    pub next_hop: Option<String>,
    /// Its AS numbers, nearest first.
    pub as_path: Vec<u32>,
    /// MULTI_EXIT_DISC.
    pub med: Option<u32>,
    /// The ToR's own preference for it.
    pub local_preference: Option<u32>,
    /// Communities, as `65000:100`.
    pub communities: Vec<String>,
    /// Large communities, as `65001:1:2`.
    pub large_communities: Vec<String>,
    /// Extended communities in the daemon's own words.
    pub extended_communities: Option<String>,
    /// Kept of a peer that is away.
    pub is_stale: bool,
}

/// What a daemon said of an ending, in its own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice(pub String);

/// A running ToR.
#[derive(Debug)]
pub struct Tor {
    number: u8,
    sessions: Vec<TorSession>,
    running: Running,
}

#[derive(Debug)]
enum Running {
    Frr(Frr),
    Bird(Bird),
    GoBgp(GoBgp),
}

impl Tor {
    /// Starts a daemon as ToR `number` of the bed, which has these sessions.
    pub fn start(bed: &BgpBed, number: u8, daemon: Daemon, sessions: Vec<TorSession>) -> Result<Tor> {
        Tor::start_with(bed, number, daemon, sessions, "")
    }

    /// As [`Tor::start`], with lines of its own language behind the configuration.
    pub fn start_with(
        bed: &BgpBed,
        number: u8,
        daemon: Daemon,
        sessions: Vec<TorSession>,
        more: &str,
    ) -> Result<Tor> {
        ensure!(sessions.iter().all(|session| session.link.tor == number), "sessions of this ToR only");
        let (netns, role) = (bed.tor(number), format!("t{number}"));
        let running = match daemon {
            Daemon::Frr => {
                let config = dialect::frr(number, &sessions) + more;
                let start = match sessions.iter().any(|session| session.bfd.is_some()) {
                    true => Frr::start_with_bfd,
                    false => Frr::start,
                };
                Running::Frr(start(netns, &bed.logs, &role, &config)?)
            }
            Daemon::Bird => Running::Bird(Bird::start(
                netns,
                &bed.logs,
                &role,
                &(dialect::bird(number, &sessions) + more),
            )?),
            Daemon::GoBgp => {
                // It looks for an unnumbered neighbour once, at its start, in the kernel's table.
                for session in sessions.iter().filter(|session| session.transport == Transport::Unnumbered) {
                    let (mac, interface) = (session.link.host_mac(), session.link.tor_interface());
                    let address = session.link.host_link_local();
                    netns
                        .ip(&format!("neigh replace {address} lladdr {mac} dev {interface} nud permanent"))?;
                }
                let config = dialect::gobgp(number, &sessions) + more;
                Running::GoBgp(GoBgp::start(netns, &bed.logs, &role, &config)?)
            }
        };
        Ok(Tor { number, sessions, running })
    }

    /// Which daemon it is.
    pub fn daemon(&self) -> Daemon {
        match &self.running {
            Running::Frr(_) => Daemon::Frr,
            Running::Bird(_) => Daemon::Bird,
            Running::GoBgp(_) => Daemon::GoBgp,
        }
    }

    /// Its number in the bed.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// Its sessions.
    pub fn sessions(&self) -> &[TorSession] {
        &self.sessions
    }

    /// FRR, if it is that.
    pub fn frr(&self) -> Result<&Frr> {
        match &self.running {
            Running::Frr(frr) => Ok(frr),
            Running::Bird(_) | Running::GoBgp(_) => bail!("this ToR is not FRR"),
        }
    }

    /// BIRD, if it is that.
    pub fn bird(&self) -> Result<&Bird> {
        match &self.running {
            Running::Bird(bird) => Ok(bird),
            Running::Frr(_) | Running::GoBgp(_) => bail!("this ToR is not BIRD"),
        }
    }

    /// GoBGP, if it is that.
    pub fn gobgp(&self) -> Result<&GoBgp> {
        match &self.running {
            Running::GoBgp(gobgp) => Ok(gobgp),
            Running::Frr(_) | Running::Bird(_) => bail!("this ToR is not GoBGP"),
        }
    }

    /// Whether a session is Established, as the ToR sees it.
    pub fn is_established(&self, session: &TorSession) -> Result<bool> {
        let neighbour = session.neighbour(self.daemon());
        match &self.running {
            Running::Frr(frr) => Ok(frr.session_state(&neighbour)? == "Established"),
            Running::Bird(bird) => bird.is_established(&session.name()),
            Running::GoBgp(gobgp) => gobgp.is_established(&neighbour),
        }
    }

    /// Waits until all its sessions are Established.
    pub fn wait_established(&self, limit: Duration) -> Result<()> {
        for session in &self.sessions {
            wait_until(
                &format!("{} of {:?} to be Established", session.name(), self.daemon()),
                limit,
                || {
                    ensure!(self.is_established(session)?, "it is not");
                    Ok(())
                },
            )?;
        }
        Ok(())
    }

    /// The paths that it has to a prefix, over all sessions.
    pub fn learnt(&self, prefix: &str) -> Result<Vec<Learnt>> {
        let family = family_word(prefix);
        match &self.running {
            Running::Frr(frr) => frr_paths(frr, family, prefix),
            Running::Bird(bird) => bird.learnt(prefix),
            Running::GoBgp(gobgp) => gobgp.learnt(family, prefix),
        }
    }

    /// The path that it learnt over one session, if there is one.
    pub fn learnt_over(&self, session: &TorSession, prefix: &str) -> Result<Option<Learnt>> {
        let daemon = self.daemon();
        let neighbour = session.neighbour(daemon);
        let wanted = match &self.running {
            Running::Frr(_) => neighbour,
            Running::Bird(_) => session.name(),
            // Its table names the router, which is the same for all sessions of a host.
            Running::GoBgp(gobgp) => {
                return Ok(gobgp.received(&neighbour, family_word(prefix), prefix)?.pop());
            }
        };
        Ok(self.learnt(prefix)?.into_iter().find(|path| path.from == wanted))
    }

    /// Waits until it has this prefix over each of its sessions.
    pub fn wait_learnt(&self, prefix: &str, limit: Duration) -> Result<()> {
        self.wait_learnt_over(self.sessions.iter(), prefix, limit)
    }

    /// Waits until it has this prefix over each of its sessions with a host.
    pub fn wait_learnt_of(&self, host: u8, prefix: &str, limit: Duration) -> Result<()> {
        self.wait_learnt_over(self.sessions.iter().filter(|session| session.link.host == host), prefix, limit)
    }

    fn wait_learnt_over<'a>(
        &self,
        sessions: impl Iterator<Item = &'a TorSession>,
        prefix: &str,
        limit: Duration,
    ) -> Result<()> {
        for session in sessions {
            wait_until(&format!("{prefix} over {} of {:?}", session.name(), self.daemon()), limit, || {
                let path = self.learnt_over(session, prefix)?;
                path.with_context(|| format!("it has {:?}", self.learnt(prefix)))
            })?;
        }
        Ok(())
    }

    /// Waits until it has no path to this prefix.
    pub fn wait_forgotten(&self, prefix: &str, limit: Duration) -> Result<()> {
        wait_until(&format!("{:?} to forget {prefix}", self.daemon()), limit, || {
            let paths = self.learnt(prefix)?;
            ensure!(paths.is_empty(), "it has {paths:?}");
            Ok(())
        })
    }

    /// Asks the host for all its routes again (ROUTE-REFRESH). GoBGP never asks: it looks again at what it has stored.
    pub fn refresh(&self, session: &TorSession) -> Result<()> {
        let neighbour = session.neighbour(self.daemon());
        match &self.running {
            Running::Frr(frr) => frr.vtysh(&format!("clear bgp {neighbour} soft in")).map(drop),
            Running::Bird(bird) => bird.birdc(&format!("reload in {}", session.name())).map(drop),
            Running::GoBgp(_) => bail!("GoBGP sends no ROUTE-REFRESH"),
        }
    }

    /// Ends a session by order of its operator, with a text for the host where the daemon has one (RFC 9003). It stays down.
    pub fn shut_down(&self, session: &TorSession, text: &str) -> Result<()> {
        let neighbour = session.neighbour(self.daemon());
        match &self.running {
            Running::Frr(frr) => frr.configure(&[
                "configure",
                &format!("router bgp {TOR_AS}"),
                &format!("neighbor {neighbour} shutdown message {text}"),
            ]),
            Running::Bird(bird) => bird.birdc(&format!("disable {} \"{text}\"", session.name())).map(drop),
            Running::GoBgp(gobgp) => {
                // The text is one argument of the client.
                ensure!(!text.contains(' '), "a text of one word for GoBGP");
                gobgp.gobgp(&format!("neighbor {neighbour} shutdown --reason {text}")).map(drop)
            }
        }
    }

    /// What it says of the end of a session.
    pub fn last_ending(&self, session: &TorSession) -> Result<Notice> {
        match &self.running {
            Running::Frr(frr) => {
                let neighbour = session.neighbour(Daemon::Frr);
                let answer = frr.json(&format!("show bgp neighbors {neighbour}"))?;
                let of = &answer[&neighbour];
                let said = [
                    "lastResetDueTo",
                    "lastErrorCodeSubcode",
                    "lastNotificationReason",
                    "lastShutdownDescription",
                ]
                .map(|key| of[key].as_str().unwrap_or_default().to_owned());
                Ok(Notice(said.join(" | ")))
            }
            Running::Bird(bird) => Ok(bird.last_said(&session.name())),
            Running::GoBgp(gobgp) => Ok(gobgp.last_notification(&session.neighbour(Daemon::GoBgp))),
        }
    }
}

/// `ipv4` or `ipv6`.
fn family_word(prefix: &str) -> &'static str {
    if prefix.contains(':') { "ipv6" } else { "ipv4" }
}

fn frr_paths(frr: &Frr, family: &str, prefix: &str) -> Result<Vec<Learnt>> {
    let answer = frr.json(&format!("show bgp {family} unicast {prefix}"))?;
    Ok(answer["paths"].as_array().into_iter().flatten().map(frr_path).collect())
}

fn frr_path(path: &Value) -> Learnt {
    let number = |value: &Value| value.as_u64().and_then(|number| u32::try_from(number).ok());
    let words = |value: &Value| -> Vec<String> {
        value.as_str().unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    };
    let as_path = path["aspath"]["string"].as_str().unwrap_or_default();
    let hops = path["nexthops"].as_array().into_iter().flatten();
    let hop = hops.clone().find(|hop| hop["used"] == true).or_else(|| hops.clone().next());
    // An unnumbered peer is named by its interface.
    let peer = &path["peer"];
    let from = peer["interface"].as_str().or_else(|| peer["peerId"].as_str());
    Learnt {
        from: from.unwrap_or_default().to_owned(),
        next_hop: hop.and_then(|hop| hop["ip"].as_str()).map(str::to_owned),
        as_path: as_path.split_whitespace().filter_map(|word| word.parse().ok()).collect(),
        med: number(&path["metric"]),
        local_preference: number(&path["locPrf"]),
        communities: words(&path["community"]["string"]),
        large_communities: words(&path["largeCommunity"]["string"]),
        extended_communities: path["extendedCommunity"]["string"].as_str().map(str::to_owned),
        is_stale: path["stale"] == true,
    }
}
