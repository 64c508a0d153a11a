// SPDX-License-Identifier: Apache-2.0 OR MIT
//! Values of single keys: text to domain type, or what is [`Wrong`] with it and how to write it instead. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::de::DeValue;

use super::nearest::nearest;
use crate::model::{Asn, Percent};

/// How names of objects are written.
pub(super) const NAME_RULE: &str =
    "1 to 63 of the characters a-z, 0-9 and `-`, with a letter or digit at both ends";
/// Characters of a foreign text that a message quotes.
const QUOTED_CHARS_MAX: usize = 60;
/// Longest path of a unix socket (`sun_path` less its final zero).
const SOCKET_PATH_BYTES_MAX: usize = 107;
/// Longest path of a file (`PATH_MAX` less its final zero).
const PATH_BYTES_MAX: usize = 4_095;
/// Longest name of a network interface (`IFNAMSIZ` less its final zero).
const INTERFACE_BYTES_MAX: usize = 15;

/// Why a value is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// What was found and what is allowed.
    pub(super) message: String,
    /// What to do.
    pub(super) help: String,
}

impl Wrong {
    pub(super) fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: help.into() }
    }

    fn kind(value: &DeValue<'_>, expected: &str, help: impl Into<String>) -> Self {
        Self::new(format!("found {}, expected {expected}", found(value)), help)
    }
}

/// A value as a message names it.
pub(super) fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("`\"{}\"`", shortened(text)),
        DeValue::Integer(number) => format!("`{}`", shortened(&number.to_string())),
        DeValue::Float(number) => format!("`{}`", shortened(number.as_str())),
        DeValue::Boolean(value) => format!("`{value}`"),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a section".to_owned(),
    }
}

/// Foreign text, short and without control characters.
fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(QUOTED_CHARS_MAX).is_some() {
        shown.push('…');
    }
    shown
}

/// A key as it stands in a path: bare when it can be, else quoted.
pub(super) fn key_text(key: &str) -> String {
    let bare = !key.is_empty()
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        && key.len() <= 63;
    if bare {
        return key.to_owned();
    }
    format!("\"{}\"", shortened(key))
}

/// Whether a text is a good name of an object.
pub(super) fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let word = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    matches!(bytes, [first, .., last] if word(first) && word(last))
        && bytes.len() <= 63
        && bytes.iter().all(|b| word(b) || *b == b'-')
        || matches!(bytes, [only] if word(only))
}

/// Whether a text can name a network interface. A `%` is in no name: to the kernel it asks for the next free number.
pub(super) fn is_interface(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= INTERFACE_BYTES_MAX
        && text != "."
        && text != ".."
        && text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'/' | b':' | b'%'))
}

/// Any text.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Wrong> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        other => Err(Wrong::kind(other, "a string", "write it in quotes")),
    }
}

/// Name of an object, here or elsewhere in the document.
pub(super) fn name(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    if is_name(&name) { Ok(name) } else { Err(Wrong::kind(value, "a name", NAME_RULE)) }
}

/// Name of an interface.
pub(super) fn interface(value: &DeValue<'_>) -> Result<String, Wrong> {
    let name = text(value)?;
    let help = "write it as `ip link` shows it, at most 15 characters";
    if is_interface(&name) { Ok(name) } else { Err(Wrong::kind(value, "the name of an interface", help)) }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Wrong> {
    match value {
        DeValue::Boolean(value) => Ok(*value),
        other => Err(Wrong::kind(other, "`true` or `false`", "write it without quotes")),
    }
}

/// A whole number in a range.
pub(super) fn number(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Result<u32, Wrong> {
    move |value| {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        integer(value)
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| range.contains(n))
            .ok_or_else(|| Wrong::kind(value, &expected, "write a number in this range, without quotes"))
    }
}

/// A port.
pub(super) fn port(value: &DeValue<'_>) -> Result<u16, Wrong> {
    integer(value)
        .and_then(|n| u16::try_from(n).ok())
        .filter(|n| *n != 0)
        .ok_or_else(|| Wrong::kind(value, "a port from 1 to 65535", "write the port as a number"))
}

/// One word of several.
pub(super) fn choice<T: Copy>(
    choices: &'static [(&'static str, T)],
    later: &'static [&'static str],
) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| {
        let words = choices.iter().map(|(word, _)| *word);
        let list = alternatives(words.clone());
        let DeValue::String(text) = value else {
            return Err(Wrong::kind(value, &list, "write one of these words, in quotes"));
        };
        if let Some((_, chosen)) = choices.iter().find(|(word, _)| word == text) {
            return Ok(*chosen);
        }
        if later.contains(&text.as_ref()) {
            let message = format!("{} is not supported by this version, expected {list}", found(value));
            return Err(Wrong::new(message, "use what this version supports"));
        }
        let help = match nearest(text, words) {
            Some(word) => format!("did you mean `\"{word}\"`?"),
            None => "write one of these words".to_owned(),
        };
        Err(Wrong::kind(value, &list, help))
    }
}

/// `"a"`, `"b"` or `"c"`.
fn alternatives<'w>(words: impl Iterator<Item = &'w str>) -> String {
    let words: Vec<String> = words.map(|word| format!("`\"{word}\"`")).collect();
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// A share like `"30%"`; `None`: something else.
pub(super) fn percent(value: &DeValue<'_>) -> Option<Percent> {
    let digits = value.as_str()?.strip_suffix('%')?;
    let is_number = digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number).and_then(Percent::new)
}

/// A time span like `"2s"`, in a range.
pub(super) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Result<Duration, Wrong> {
    move |value| {
        let (min, max) = (duration_text(*range.start()), duration_text(*range.end()));
        let DeValue::String(text) = value else {
            let help = "write it in quotes with a unit, like `\"500ms\"`, `\"2s\"` or `\"5m\"`";
            return Err(Wrong::kind(value, &format!("a time span from `{min}` to `{max}`"), help));
        };
        match parse_duration(text) {
            Some(span) if range.contains(&span) => Ok(span),
            Some(_) => {
                let expected = format!("a time span from `{min}` to `{max}`");
                Err(Wrong::kind(value, &expected, "choose a value in this range"))
            }
            None => {
                let help = "write a whole number and a unit, like `500ms`, `2s`, `5m` or `1h`";
                Err(Wrong::kind(value, "a time span", help))
            }
        }
    }
}

/// A time span in whole seconds, in a range.
pub(super) fn seconds(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Result<Duration, Wrong> {
    let parse = duration(range);
    move |value| match parse(value)? {
        span if span.subsec_nanos() == 0 => Ok(span),
        _ => Err(Wrong::kind(value, "whole seconds", "write it like `\"2s\"`")),
    }
}

/// `500ms`, `2s`, `5m` or `1h` as a time span.
pub(super) fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = text.split_at(digits);
    let amount: u64 = amount.parse().ok()?;
    match unit {
        "ms" => Some(Duration::from_millis(amount)),
        "s" => Some(Duration::from_secs(amount)),
        "m" => amount.checked_mul(60).map(Duration::from_secs),
        "h" => amount.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    }
}

/// A time span as the document writes it, in the largest unit that is exact.
pub(super) fn duration_text(span: Duration) -> String {
    let secs = span.as_secs();
    match (span.subsec_millis(), secs) {
        (0, 0) => "0s".to_owned(),
        (0, secs) if secs % 3600 == 0 => format!("{}h", secs / 3600),
        (0, secs) if secs % 60 == 0 => format!("{}m", secs / 60),
        (0, secs) => format!("{secs}s"),
        _ => format!("{}ms", span.as_millis()),
    }
}

/// An address that one host can have, of either family.
pub(super) fn address(value: &DeValue<'_>) -> Result<IpAddr, Wrong> {
    const EXPECTED: &str = "an IPv4 or IPv6 address";
    const HELP: &str = "write it like `192.0.2.10` or `2001:db8::10`, without prefix length";
    let address: IpAddr = text_of(value)
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| Wrong::kind(value, EXPECTED, HELP))?;
    match flaw(address) {
        None => Ok(address),
        Some(flaw) => {
            let message = format!("found {}, {flaw}, expected a unicast address", found(value));
            Err(Wrong::new(message, "use an address that one host has"))
        }
    }
}

/// An IPv4 address that one host can have.
pub(super) fn address_v4(value: &DeValue<'_>) -> Result<Ipv4Addr, Wrong> {
    match address(value)? {
        IpAddr::V4(address) => Ok(address),
        IpAddr::V6(_) => Err(Wrong::kind(value, "an IPv4 address", "write it like `192.0.2.10`")),
    }
}

/// An IPv6 address that one host can have.
pub(super) fn address_v6(value: &DeValue<'_>) -> Result<Ipv6Addr, Wrong> {
    match address(value)? {
        IpAddr::V6(address) => Ok(address),
        IpAddr::V4(_) => Err(Wrong::kind(value, "an IPv6 address", "write it like `2001:db8::10`")),
    }
}

/// A BGP identifier: any number but 0 (RFC 6286), written like an IPv4 address.
pub(super) fn router_id(value: &DeValue<'_>) -> Result<Ipv4Addr, Wrong> {
    text_of(value).and_then(|text| text.parse().ok()).filter(|id: &Ipv4Addr| !id.is_unspecified()).ok_or_else(
        || {
            Wrong::kind(
                value,
                "a router id other than `0.0.0.0`",
                "write it like an IPv4 address, unique among the appliances",
            )
        },
    )
}

/// Addresses and ports to listen on.
pub(super) fn listeners(max: usize) -> impl Fn(&DeValue<'_>) -> Result<Vec<SocketAddr>, Wrong> {
    move |value| {
        const HELP: &str = "write it like `[\"0.0.0.0:179\", \"[::]:179\"]`";
        let DeValue::Array(items) = value else {
            return Err(Wrong::kind(value, "a list of addresses with port", HELP));
        };
        if items.len() > max {
            return Err(Wrong::new(
                format!("found {} addresses, expected at most {max}", items.len()),
                "list fewer",
            ));
        }
        let mut addresses = Vec::new();
        for item in items {
            let address = socket_address(item.get_ref())?;
            if addresses.contains(&address) {
                return Err(Wrong::new(format!("found `{address}` twice"), "list each address once"));
            }
            addresses.push(address);
        }
        Ok(addresses)
    }
}

/// An address and a port to listen on.
pub(super) fn socket_address(value: &DeValue<'_>) -> Result<SocketAddr, Wrong> {
    text_of(value)
        .and_then(|text| text.parse().ok())
        .filter(|address: &SocketAddr| address.port() != 0 && !address.ip().is_multicast())
        .ok_or_else(|| {
            Wrong::kind(value, "an address with a port", "write it like `127.0.0.1:9180` or `[::1]:9180`")
        })
}

/// A path from the root.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    absolute_path(value, PATH_BYTES_MAX)
}

/// A path from the root that a unix socket can have.
pub(super) fn socket_path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    absolute_path(value, SOCKET_PATH_BYTES_MAX)
}

/// An AS number that a speaker can have or meet (not 0, AS_TRANS or the reserved ends: RFC 6793, 7300, 7607).
pub(super) fn asn(value: &DeValue<'_>) -> Result<Asn, Wrong> {
    const HELP: &str = "private AS numbers are 64512 to 65534 and 4200000000 to 4294967294";
    let Some(number) = integer(value).and_then(|n| u32::try_from(n).ok()) else {
        return Err(Wrong::kind(value, "an AS number from 1 to 4294967294", HELP));
    };
    match number {
        0 | 23_456 | 65_535 | u32::MAX => {
            Err(Wrong::new(format!("found AS number {number}, which is reserved"), HELP))
        }
        number => Ok(Asn(number)),
    }
}

fn absolute_path(value: &DeValue<'_>, bytes_max: usize) -> Result<PathBuf, Wrong> {
    let text = text(value)?;
    if !text.starts_with('/') || text.contains('\0') {
        return Err(Wrong::kind(value, "a path from the root", "begin the path with `/`"));
    }
    if text.len() > bytes_max {
        let message = format!("found a path of {} bytes, expected at most {bytes_max}", text.len());
        return Err(Wrong::new(message, "choose a shorter path"));
    }
    Ok(PathBuf::from(text))
}

fn text_of<'v>(value: &'v DeValue<'_>) -> Option<&'v str> {
    value.as_str()
}

/// A whole number without bounds but its type's; `None`: something else.
pub(super) fn whole_number<T: TryFrom<i64>>(value: &DeValue<'_>) -> Option<T> {
    integer(value).and_then(|number| T::try_from(number).ok())
}

fn integer(value: &DeValue<'_>) -> Option<i64> {
    let number = value.as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Why an address is no unicast address of a host.
pub(super) fn flaw(address: IpAddr) -> Option<&'static str> {
    match address {
        a if a.is_unspecified() => Some("the unspecified address"),
        a if a.is_loopback() => Some("a loopback address"),
        a if a.is_multicast() => Some("a multicast address"),
        IpAddr::V4(a) if a.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(a) if a.octets()[0] == 0 => Some("an address of \"this network\""),
        IpAddr::V6(a) if a.is_unicast_link_local() => Some("a link-local address"),
        IpAddr::V6(a) if a.to_ipv4_mapped().is_some() => Some("an IPv4 address in IPv6 form"),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}
