// SPDX-License-Identifier: Apache-2.0 OR MIT
//! NOTIFICATION: the last word of a session (RFC 4271 §4.5), with shutdown text (RFC 9003) and Hard Reset (RFC 8538).

use std::fmt;

use super::cursor::Cursor;
use super::error::NotificationError;
use super::iana::{MESSAGE_LEN_MAX, cease, error_code, error_words, message_type};
use super::message::encode_message;
use super::mp::AfiSafi;

/// Longest shutdown text we send, in octets; RFC 9003 would allow 255, RFC 8203 receivers only 128.
pub const SHUTDOWN_TEXT_MAX: usize = 128;

/// Most octets of data that fit a message of 4096 octets.
const DATA_MAX: usize = MESSAGE_LEN_MAX - 19 - 2;

/// A NOTIFICATION message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notification {
    code: u8,
    subcode: u8,
    data: Vec<u8>,
}

impl Notification {
    /// A message of these fields; data beyond what fits one message is cut.
    pub fn new(code: u8, subcode: u8, mut data: Vec<u8>) -> Self {
        data.truncate(DATA_MAX);
        Self { code, subcode, data }
    }

    /// Cease of this subcode without data.
    pub fn cease(subcode: u8) -> Self {
        Self::new(error_code::CEASE, subcode, vec![])
    }

    /// Cease, administrative shutdown, with a text for the other operator; cut to [`SHUTDOWN_TEXT_MAX`] octets.
    pub fn shutdown(text: &str) -> Self {
        Self::with_text(cease::ADMIN_SHUTDOWN, text)
    }

    /// Cease, administrative reset, with a text as [`Notification::shutdown`].
    pub fn reset(text: &str) -> Self {
        Self::with_text(cease::ADMIN_RESET, text)
    }

    /// Cease, maximum number of prefixes reached, with the data of RFC 4486 §4: family and limit.
    pub fn prefixes_exceeded(family: AfiSafi, limit: u32) -> Self {
        let data = [&family.to_octets()[..], &limit.to_be_bytes()].concat();
        Self::new(error_code::CEASE, cease::MAX_PREFIXES, data)
    }

    /// Cease, Hard Reset, wrapping the reason (RFC 8538 §3.1): the peer must not keep our routes.
    pub fn hard_reset_of(inner: &Notification) -> Self {
        let data = [&[inner.code, inner.subcode][..], &inner.data].concat();
        Self::new(error_code::CEASE, cease::HARD_RESET, data)
    }

    fn with_text(subcode: u8, text: &str) -> Self {
        let clean = sanitised(text);
        let end = (0..=clean.len().min(SHUTDOWN_TEXT_MAX)).rev().find(|i| clean.is_char_boundary(*i));
        let text = &clean[..end.unwrap_or(0)];
        let mut data = vec![u8::try_from(text.len()).expect("SHUTDOWN_TEXT_MAX is below 256")];
        data.extend_from_slice(text.as_bytes());
        Self::new(error_code::CEASE, subcode, data)
    }

    /// Error code.
    pub fn code(&self) -> u8 {
        self.code
    }

    /// Error subcode.
    pub fn subcode(&self) -> u8 {
        self.subcode
    }

    /// What follows them.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Reads a body; what follows code and subcode is kept as it is.
    pub fn decode(body: &[u8]) -> Result<Self, NotificationError> {
        let mut cursor = Cursor::new(body);
        match (cursor.u8(), cursor.u8()) {
            (Some(code), Some(subcode)) => Ok(Self::new(code, subcode, cursor.rest().to_vec())),
            _ => Err(NotificationError { length: body.len() }),
        }
    }

    /// The whole message.
    pub fn encode(&self) -> Vec<u8> {
        encode_message(message_type::NOTIFICATION, |out| {
            out.extend_from_slice(&[self.code, self.subcode]);
            out.extend_from_slice(&self.data);
        })
    }

    /// What a Hard Reset wraps: code and subcode of the reason (RFC 8538 §3.1).
    pub fn hard_reset(&self) -> Option<Notification> {
        let is_hard_reset = (self.code, self.subcode) == (error_code::CEASE, cease::HARD_RESET);
        if is_hard_reset { Self::decode(&self.data).ok() } else { None }
    }

    /// Family and limit that a Cease for too many prefixes names, also inside a Hard Reset; `None` without them.
    pub fn prefix_limit(&self) -> Option<(AfiSafi, u32)> {
        let inner = self.hard_reset();
        let cease = inner.as_ref().unwrap_or(self);
        if (cease.code, cease.subcode) != (error_code::CEASE, cease::MAX_PREFIXES) {
            return None;
        }
        let mut cursor = Cursor::new(&cease.data);
        let (afi, safi, limit) = (cursor.u16()?, cursor.u8()?, cursor.u32()?);
        Some((AfiSafi { afi, safi }, limit))
    }

    /// The peer's words in a Cease for shutdown or reset, or in a Hard Reset of these; control characters removed.
    ///
    /// `None` without text. A length octet that lies or octets that are no UTF-8 give what can be read.
    pub fn shutdown_text(&self) -> Option<String> {
        if let Some(inner) = self.hard_reset() {
            // One level only: a Hard Reset inside a Hard Reset is nobody's message.
            return inner.own_text();
        }
        self.own_text()
    }

    fn own_text(&self) -> Option<String> {
        let (length, octets) = match (self.code, self.subcode) {
            (error_code::CEASE, cease::ADMIN_SHUTDOWN | cease::ADMIN_RESET) => self.data.split_first()?,
            _ => return None,
        };
        let octets = &octets[..octets.len().min(usize::from(*length))];
        let text = sanitised(&String::from_utf8_lossy(octets));
        if text.is_empty() { None } else { Some(text) }
    }
}

/// `text` without what could disturb a terminal or a log line: controls and invisible direction marks.
pub fn sanitised(text: &str) -> String {
    text.chars()
        .filter(|c| {
            let is_mark = matches!(c, '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
                | '\u{feff}');
            !c.is_control() && !is_mark
        })
        .collect()
}

impl fmt::Display for Notification {
    /// `cease (6), administrative shutdown (2): rack 12 power work`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, detail) = error_words(self.code, self.subcode);
        write!(f, "{} ({})", name.unwrap_or("unknown error"), self.code)?;
        match detail {
            Some(detail) => write!(f, ", {detail} ({})", self.subcode)?,
            None if self.subcode != 0 => write!(f, ", subcode {}", self.subcode)?,
            None => {}
        }
        if let Some(inner) = self.hard_reset() {
            let (name, detail) = error_words(inner.code, inner.subcode);
            write!(f, " for {} ({}/{})", detail.or(name).unwrap_or("unknown"), inner.code, inner.subcode)?;
        }
        match (self.shutdown_text(), self.prefix_limit()) {
            (Some(text), _) => write!(f, ": {text}"),
            (None, Some((family, limit))) => match family.family() {
                Some(family) => write!(f, ": limit {limit} of {family}"),
                None => write!(f, ": limit {limit} of {family}"),
            },
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_a_character_and_cleaned() {
        let long = "ä".repeat(100);
        let sent = Notification::shutdown(&format!("a{long}"));
        assert_eq!(sent.data().len(), 1 + 127, "128 octets would split a character");
        assert_eq!(sent.shutdown_text().unwrap(), format!("a{}", "ä".repeat(63)));
        let nasty = Notification::shutdown("one\r\n\x1b[2Jtwo\u{202e}th\u{61c}ree");
        assert_eq!(nasty.shutdown_text().unwrap(), "one[2Jtwothree");
        assert_eq!(Notification::shutdown("").data(), [0]);
    }

    #[test]
    fn a_reset_says_why_like_a_shutdown() {
        let reset = Notification::reset("new policy");
        assert_eq!((reset.code(), reset.subcode(), reset.data()[0]), (6, 4, 10));
        assert_eq!(reset.to_string(), "cease (6), administrative reset (4): new policy");
    }

    #[test]
    fn a_hard_reset_wraps_its_reason_whole() {
        let inner = Notification::shutdown("hello");
        let hard = Notification::hard_reset_of(&inner);
        assert_eq!((hard.code(), hard.subcode()), (6, 9));
        assert_eq!(hard.data(), b"\x06\x02\x05hello");
        let read = Notification::decode(&hard.encode()[19..]).unwrap();
        assert_eq!(read.hard_reset(), Some(inner));
        assert_eq!(read.shutdown_text().as_deref(), Some("hello"));
        let too_many = Notification::prefixes_exceeded(AfiSafi { afi: 1, safi: 1 }, 16);
        assert_eq!(Notification::hard_reset_of(&too_many).prefix_limit(), too_many.prefix_limit());
    }

    #[test]
    fn the_prefix_limit_is_told_and_read() {
        let sent = Notification::prefixes_exceeded(AfiSafi { afi: 1, safi: 1 }, 3);
        assert_eq!(sent.data(), [0, 1, 1, 0, 0, 0, 3]);
        assert_eq!(sent.prefix_limit(), Some((AfiSafi { afi: 1, safi: 1 }, 3)));
        assert_eq!(
            sent.to_string(),
            "cease (6), maximum number of prefixes reached (1): limit 3 of ipv4-unicast"
        );
        assert_eq!(Notification::cease(cease::MAX_PREFIXES).prefix_limit(), None);
        assert_eq!(Notification::new(6, 1, vec![0, 1, 1, 0, 0, 0]).prefix_limit(), None);
        assert_eq!(Notification::new(6, 2, vec![0, 1, 1, 0, 0, 0, 3]).prefix_limit(), None);
    }

    #[test]
    fn a_lying_length_and_bad_utf8_still_give_text() {
        let text = |data: &[u8]| Notification::new(6, 2, data.to_vec()).shutdown_text();
        assert_eq!(text(b"\xffabc"), Some("abc".into()));
        assert_eq!(text(b"\x02abc"), Some("ab".into()));
        assert_eq!(text(b"\x03a\xffb"), Some("a\u{fffd}b".into()));
        assert_eq!(text(b"\x00"), None);
        assert_eq!(text(b""), None);
        assert_eq!(Notification::new(6, 7, b"\x02ab".to_vec()).shutdown_text(), None);
    }

    #[test]
    fn it_prints_in_the_registrys_words() {
        let show = |code, subcode, data: &[u8]| Notification::new(code, subcode, data.to_vec()).to_string();
        assert_eq!(show(6, 2, b"\x02hi"), "cease (6), administrative shutdown (2): hi");
        assert_eq!(
            show(6, 9, b"\x06\x02\x02hi"),
            "cease (6), hard reset (9) for administrative shutdown (6/2): hi"
        );
        assert_eq!(show(4, 0, b""), "hold timer expired (4)");
        assert_eq!(show(3, 99, b""), "update message error (3), subcode 99");
        assert_eq!(show(99, 1, b""), "unknown error (99), subcode 1");
    }

    #[test]
    fn data_never_exceeds_a_message() {
        let message = Notification::new(3, 9, vec![7; 70_000]).encode();
        assert_eq!(message.len(), MESSAGE_LEN_MAX);
    }
}
