// SPDX-License-Identifier: Apache-2.0 OR MIT
//! What must hold of every decoder of BGP: no more comes out than the octets could hold, a refusal has an answer, what is
//! written again reads the same, and no message costs more than 1 MiB.

use std::net::{Ipv4Addr, Ipv6Addr};

use weir_bgp::Family;
use weir_bgp::wire::iana::{MESSAGE_LEN_MAX, MESSAGE_LEN_MAX_EXTENDED};
use weir_bgp::wire::{
    Capability, DecodeContext, FrameBuffer, LinkBandwidth, Message, NextHop, Notification, Open, PathToSend,
    Refresh, Update, UpdateEncoder, WireError,
};

use crate::allocation::bounded;

const HEADER_LEN: usize = 19;
const CONTEXT: DecodeContext = DecodeContext { four_octet_as: true, local_address: None };

/// OPEN.
pub fn open(body: &[u8]) {
    if body.len() > MESSAGE_LEN_MAX - HEADER_LEN {
        return;
    }
    let open = match bounded(|| Open::decode(body)) {
        Ok(open) => open,
        Err(error) => return answered(&error.into(), 2),
    };
    assert!(open.capabilities.len() * 2 <= body.len());
    let shown: usize = open.capabilities.iter().map(|c| c.to_string().len()).sum();
    assert!(shown <= 64 * body.len());
    let written = open.encode();
    assert!(written.len() <= MESSAGE_LEN_MAX);
    let again = Open::decode(&written[HEADER_LEN..]).expect("what we write can be read");
    assert_eq!(
        (again.two_octet_as, again.hold_time_s, again.router_id),
        (open.two_octet_as, open.hold_time_s, open.router_id)
    );
    if again.capabilities.len() < open.capabilities.len() {
        // Names that had to be cleaned may have grown; what does not fit any more is left out.
        assert!(written.len() + 257 > MESSAGE_LEN_MAX);
        return;
    }
    for (before, after) in open.capabilities.iter().zip(&again.capabilities) {
        let is_text = matches!(before, Capability::Fqdn { .. } | Capability::SoftwareVersion(_));
        assert!(before == after || is_text, "{before} became {after}");
    }
    let twice = Open::decode(&again.encode()[HEADER_LEN..]);
    assert_eq!(twice, Ok(again), "cleaned once, it stays as it is");
}

/// UPDATE; the first octet chooses the context.
pub fn update(octets: &[u8]) {
    let Some((choice, body)) = octets.split_first() else { return };
    let own: [Option<std::net::IpAddr>; 4] = [
        None,
        Some(Ipv4Addr::new(10, 0, 0, 1).into()),
        Some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0xff, 0xfe00, 0x10b).into()),
        None,
    ];
    let context =
        DecodeContext { four_octet_as: choice & 1 == 0, local_address: own[usize::from(choice >> 1 & 3)] };
    let update = match bounded(|| Update::decode(body, &context)) {
        Ok(update) => update,
        Err(error) => return answered(&error.into(), 3),
    };
    assert!(update.announced().count() + update.withdrawals().count() <= body.len());
    assert!(update.findings.len() <= 8);
    assert_eq!(update.findings.is_empty(), update.treatment.is_none());
    assert_eq!(update.findings.iter().map(|f| f.treatment).max(), update.treatment);
    let attributes = &update.attributes;
    let asns: usize = attributes.as_path.iter().flat_map(|p| &p.segments).map(|s| s.asns.len()).sum();
    assert!(asns * 2 <= body.len());
    let full: usize = attributes.full_path().iter().flat_map(|p| &p.segments).map(|s| s.asns.len()).sum();
    assert!(full * 2 <= body.len());
    for community in &attributes.extended_communities {
        if let Some(bandwidth) = LinkBandwidth::from_octets(*community) {
            assert_eq!(bandwidth.to_octets(), *community);
            assert!(bandwidth.to_string().len() < 100);
        }
    }
    if let Some(family) = update.end_of_rib() {
        let encoder = UpdateEncoder { four_octet_as: true, message_max: MESSAGE_LEN_MAX };
        let again = Update::decode(&encoder.end_of_rib(family)[HEADER_LEN..], &context);
        assert_eq!(again.map(|u| u.end_of_rib()), Ok(Some(family)));
        return;
    }
    if update.treatment.is_none() {
        let message_max = if choice & 8 == 0 { MESSAGE_LEN_MAX } else { MESSAGE_LEN_MAX_EXTENDED };
        rewrite(&update, &context, message_max);
    }
}

/// Writes a flawless UPDATE again, as far as we could send it, and reads that.
fn rewrite(update: &Update, context: &DecodeContext, message_max: usize) {
    let encoder = UpdateEncoder { four_octet_as: context.four_octet_as, message_max };
    for family in Family::ALL {
        let prefixes: Vec<_> = update.withdrawals().filter(|p| p.family() == family).collect();
        for written in
            [encoder.withdraw(family, &prefixes), encoder.withdraw_multiprotocol(family, &prefixes)]
        {
            let Some((message, count)) = written else { continue };
            assert!(message.len() <= message_max);
            let again = Update::decode(&message[HEADER_LEN..], context).expect("what we write can be read");
            assert!(again.withdrawals().eq(deduped(&prefixes[..count])));
        }
    }
    let attributes = &update.attributes;
    let (Some(as_path), Some(origin)) = (&attributes.as_path, attributes.origin) else { return };
    let path = PathToSend {
        as_path,
        origin,
        med: attributes.med,
        communities: &attributes.communities,
        extended_communities: &attributes.extended_communities,
        large_communities: &attributes.large_communities,
    };
    let v6 = NextHop::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
    for next_hop in [v6, NextHop::V4(Ipv4Addr::new(10, 0, 0, 2))] {
        for family in Family::ALL {
            let prefixes: Vec<_> = update.announced().filter(|p| p.family() == family).collect();
            let Some((message, count)) = encoder.announce(path, next_hop, family, &prefixes) else {
                continue;
            };
            assert!(message.len() <= message_max);
            let again = Update::decode(&message[HEADER_LEN..], context).expect("what we write can be read");
            assert_eq!(again.treatment, None);
            assert!(again.announced().eq(deduped(&prefixes[..count])));
            let read = &again.attributes;
            assert_eq!((read.origin, read.med), (attributes.origin, attributes.med));
            // What needs four octets where there are two is a number of AS4_PATH alone.
            if context.four_octet_as {
                assert_eq!(
                    read.full_path().map(|p| p.to_string()),
                    attributes.as_path.as_ref().map(|p| p.to_string())
                );
            }
            assert_eq!(read.communities, attributes.communities);
            assert_eq!(read.extended_communities, attributes.extended_communities);
            assert_eq!(read.large_communities, attributes.large_communities);
        }
    }
}

/// As a field of one message is read: a default route said again is one.
fn deduped(prefixes: &[weir_bgp::Prefix]) -> impl Iterator<Item = weir_bgp::Prefix> + '_ {
    let mut has_default = false;
    prefixes.iter().copied().filter(move |p| p.length() != 0 || !std::mem::replace(&mut has_default, true))
}

/// NOTIFICATION.
pub fn notification(body: &[u8]) {
    let Ok(notification) = bounded(|| Notification::decode(body)) else {
        assert!(body.len() < 2);
        return;
    };
    let shown = notification.to_string();
    assert!(!shown.contains(char::is_control) && shown.len() <= 3 * body.len() + 200);
    let written = notification.encode();
    assert!(written.len() <= MESSAGE_LEN_MAX);
    if let Some((family, limit)) = notification.prefix_limit() {
        assert_eq!(Notification::prefixes_exceeded(family, limit).prefix_limit(), Some((family, limit)));
    }
    if let Some(text) = notification.shutdown_text() {
        // Cut to what we would send, our own words come back as they are.
        let ours = Notification::shutdown(&text).shutdown_text().expect("a text stays one");
        assert!(text.starts_with(&ours));
    }
    let wrapped = Notification::hard_reset_of(&notification);
    if wrapped.data().len() == notification.data().len() + 2 {
        assert_eq!(wrapped.hard_reset().as_ref(), Some(&notification));
    }
    assert_eq!(Notification::decode(&written[HEADER_LEN..]), Ok(notification));
}

/// ROUTE-REFRESH.
pub fn refresh(body: &[u8]) {
    match bounded(|| Refresh::decode(body)) {
        Ok(refresh) => {
            let written = refresh.encode();
            assert_eq!(&written[HEADER_LEN..], body);
            assert_eq!(Refresh::decode(&written[HEADER_LEN..]), Ok(refresh));
        }
        Err(error) => {
            let is_border = matches!(body.get(2), Some(1 | 2));
            assert!(body.len() != 4);
            answered(&error, if is_border { 7 } else { 1 });
        }
    }
}

/// A stream; its first octet is the size of the chunks it comes in, and whether long messages were negotiated.
pub fn stream(octets: &[u8]) {
    let Some((choice, stream)) = octets.split_first() else { return };
    let max = if choice & 0x80 == 0 { MESSAGE_LEN_MAX } else { MESSAGE_LEN_MAX_EXTENDED };
    let whole = messages(stream.chunks(stream.len().max(1)), max);
    let cut = messages(stream.chunks(usize::from(choice & 0x7f).max(1)), max);
    assert_eq!(whole, cut);
    for message in &whole {
        if let Err(error) = message {
            answered(error, 0);
        }
    }
    // Long messages may be read where short ones are not, never the other way round.
    if max == MESSAGE_LEN_MAX_EXTENDED {
        let short = messages(stream.chunks(stream.len().max(1)), MESSAGE_LEN_MAX);
        let same = short.iter().zip(&whole).take_while(|(a, b)| a == b).count();
        assert!(same + 1 >= short.len(), "only the last, where the short reader gave up, may differ");
    }
}

fn messages<'a>(chunks: impl Iterator<Item = &'a [u8]>, max: usize) -> Vec<Result<Message, WireError>> {
    let mut buffer = FrameBuffer::new(MESSAGE_LEN_MAX);
    buffer.set_max(max);
    let mut seen = Vec::new();
    for mut chunk in chunks {
        loop {
            match buffer.fill(&mut chunk) {
                Ok(false) => break,
                Ok(true) => {
                    let (kind, body) = buffer.message().expect("it is whole");
                    assert!(body.len() + HEADER_LEN <= max);
                    seen.push(bounded(|| Message::decode(kind, body, &CONTEXT)));
                    buffer.clear();
                }
                Err(error) => {
                    seen.push(Err(error.into()));
                    return seen;
                }
            }
        }
    }
    seen
}

/// An error has an answer of the right code that fits a message; code 0 stands for any.
fn answered(error: &WireError, code: u8) {
    assert!(error.to_string().len() < 200);
    if let Some(answer) = error.answer() {
        assert!(code == 0 || answer.code() == code);
        assert!(answer.encode().len() <= MESSAGE_LEN_MAX && !answer.to_string().is_empty());
    }
}
