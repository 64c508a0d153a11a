// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What a caller may ask for, and the limits that keep it sane.

use std::net::IpAddr;
use std::time::Duration;

use crate::error::ConfigError;

/// Sessions at most; each costs a socket.
pub const SESSIONS_MAX: usize = 256;

/// Shortest interval that may be asked for. The peer may still slow us down.
pub const INTERVAL_MIN: Duration = Duration::from_millis(10);

/// Longest interval that may be asked for; whoever wants less than this wants the hold time of BGP.
pub const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Longest name of a session, in octets.
pub const NAME_LEN_MAX: usize = 128;

/// Longest name of an interface (`IFNAMSIZ` less the end).
const INTERFACE_LEN_MAX: usize = 15;

/// Intervals and multiplier that we ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// We want to send no faster than this.
    pub desired_min_tx: Duration,
    /// We want to receive no faster than this.
    pub required_min_rx: Duration,
    /// Our packets that the peer may miss in a row before it takes us for dead.
    pub detect_mult: u8,
}

impl Default for Timing {
    /// 3 × 300 ms both ways.
    fn default() -> Self {
        let interval = Duration::from_millis(300);
        Timing { desired_min_tx: interval, required_min_rx: interval, detect_mult: 3 }
    }
}

/// What a session is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Wanted {
    /// To come up and stay up.
    #[default]
    Up,
    /// Held down, and the peer shall read nothing into it (RFC 5882 §3.2).
    AdminDown,
    /// Held down because this host cannot forward: the peer shall take its routes away.
    ForwardingLost,
}

/// One session: with whom, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionConfig {
    /// The peer.
    pub remote: IpAddr,
    /// Our address towards it; `None`: as the kernel chooses.
    pub local: Option<IpAddr>,
    /// Interface on which alone the session lives; needed for a link-local peer.
    pub interface: Option<String>,
    /// Intervals and multiplier.
    pub timing: Timing,
    /// Up, or held down.
    pub wanted: Wanted,
}

impl SessionConfig {
    /// A session with default timing that shall come up.
    pub fn new(remote: IpAddr) -> SessionConfig {
        SessionConfig { remote, local: None, interface: None, timing: Timing::default(), wanted: Wanted::Up }
    }

    /// Whether another configuration is the same session with other timing.
    pub(crate) fn is_same_session(&self, other: &SessionConfig) -> bool {
        (self.remote, self.local, &self.interface) == (other.remote, other.local, &other.interface)
    }

    /// Refuses what could not work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let remote = self.remote;
        let is_host = match remote {
            IpAddr::V4(v4) => !v4.is_unspecified() && !v4.is_multicast() && !v4.is_broadcast(),
            IpAddr::V6(v6) => !v6.is_unspecified() && !v6.is_multicast() && v6.to_ipv4_mapped().is_none(),
        };
        if !is_host {
            return Err(ConfigError::NotAHost { remote });
        }
        if self.local.is_some_and(|local| local.is_ipv4() != remote.is_ipv4()) {
            return Err(ConfigError::Families { remote });
        }
        if is_link_local(remote) && self.interface.is_none() {
            return Err(ConfigError::NoInterface { remote });
        }
        if let Some(interface) = &self.interface
            && (interface.is_empty()
                || interface.len() > INTERFACE_LEN_MAX
                || interface.contains(['/', '\0']))
        {
            return Err(ConfigError::Interface { interface: interface.clone() });
        }
        for interval in [self.timing.desired_min_tx, self.timing.required_min_rx] {
            if !(INTERVAL_MIN..=INTERVAL_MAX).contains(&interval) {
                return Err(ConfigError::Interval { interval });
            }
        }
        if self.timing.detect_mult == 0 {
            return Err(ConfigError::DetectMult);
        }
        Ok(())
    }
}

/// Whether an address means something on one interface only.
pub(crate) fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(remote: &str, change: impl FnOnce(&mut SessionConfig)) -> String {
        let mut config = SessionConfig::new(remote.parse().expect("an address"));
        change(&mut config);
        config.validate().expect_err("refused").to_string()
    }

    #[test]
    fn what_could_not_work_is_refused() {
        for remote in ["0.0.0.0", "224.0.0.1", "255.255.255.255", "::", "ff02::1", "::ffff:10.0.0.1"] {
            assert_eq!(refused(remote, |_| {}), format!("{remote} is no address of a host"));
        }
        let families = refused("10.0.0.1", |c| c.local = Some("::1".parse().expect("an address")));
        assert_eq!(families, "the local address and 10.0.0.1 are of two families");
        assert_eq!(refused("fe80::1", |_| {}), "the link-local peer fe80::1 needs an interface");
        let name = refused("10.0.0.1", |c| c.interface = Some("a/b".into()));
        assert_eq!(name, "`a/b` is no name of an interface");
        let fast = refused("10.0.0.1", |c| c.timing.desired_min_tx = Duration::from_millis(9));
        assert_eq!(fast, "an interval of 9ms; 10 ms to 60 s are possible");
        let slow = refused("10.0.0.1", |c| c.timing.required_min_rx = Duration::from_secs(61));
        assert_eq!(slow, "an interval of 61s; 10 ms to 60 s are possible");
        assert_eq!(refused("10.0.0.1", |c| c.timing.detect_mult = 0), "the detection multiplier is zero");
    }

    #[test]
    fn what_works_is_taken() {
        for remote in ["10.0.0.1", "2001:db8::1", "169.254.1.1"] {
            assert_eq!(SessionConfig::new(remote.parse().expect("an address")).validate(), Ok(()));
        }
        let mut unnumbered = SessionConfig::new("fe80::1".parse().expect("an address"));
        unnumbered.interface = Some("eth0".into());
        assert_eq!(unnumbered.validate(), Ok(()));
    }
}
