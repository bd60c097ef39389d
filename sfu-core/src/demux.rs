//! What a datagram is, from its first bytes (RFC 7983, RFC 5761). Looks no further: whether it is valid is
//! for the protocol's own parser to say.

/// The protocols that share one port.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Class {
    Stun,
    Dtls,
    Rtp,
    Rtcp,
}

/// Shortest datagram of each class: the header of STUN (RFC 8489 §5), of a DTLS record (RFC 6347 §4.1; the
/// short header of RFC 9147 §4 with its tag is longer than that), of RTP, and of RTCP.
const STUN_LEN_MIN: usize = 20;
const DTLS_LEN_MIN: usize = 13;
const RTP_LEN_MIN: usize = 12;
const RTCP_LEN_MIN: usize = 8;

impl Class {
    /// The class of a datagram; `None` for ZRTP, TURN channels, anything unassigned, and the too short.
    #[inline]
    pub fn of(datagram: &[u8]) -> Option<Class> {
        let [first, second, ..] = *datagram else { return None };
        let (class, len_min) = match first {
            0..=3 => (Class::Stun, STUN_LEN_MIN),
            20..=63 => (Class::Dtls, DTLS_LEN_MIN),
            // RFC 5761 §4: RTCP packet types lie where RTP with marker has payload types 64–95.
            128..=191 if (192..=223).contains(&second) => (Class::Rtcp, RTCP_LEN_MIN),
            128..=191 => (Class::Rtp, RTP_LEN_MIN),
            _ => return None,
        };
        (datagram.len() >= len_min).then_some(class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_first_byte_has_at_most_one_class() {
        for first in 0..=255 {
            let mut datagram = [0; 64];
            datagram[0] = first;
            let expected = match first {
                0..=3 => Some(Class::Stun),
                20..=63 => Some(Class::Dtls),
                128..=191 => Some(Class::Rtp),
                _ => None,
            };
            assert_eq!(Class::of(&datagram), expected, "{first}");
        }
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_packet_type() {
        let mut datagram = [0; 64];
        datagram[0] = 0x80;
        for second in 0..=255 {
            datagram[1] = second;
            let expected = if (192..=223).contains(&second) { Class::Rtcp } else { Class::Rtp };
            assert_eq!(Class::of(&datagram), Some(expected), "{second}");
        }
    }

    #[test]
    fn too_short_is_nothing() {
        for (first, second, len_min) in [(0, 1, 20), (22, 254, 13), (0x80, 96, 12), (0x80, 200, 8)] {
            let mut datagram = [0; 20];
            datagram[0] = first;
            datagram[1] = second;
            assert_eq!(Class::of(&datagram[..len_min - 1]), None);
            assert!(Class::of(&datagram[..len_min]).is_some());
        }
        assert_eq!(Class::of(&[]), None);
    }
}
