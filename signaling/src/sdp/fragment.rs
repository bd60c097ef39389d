//! SDP fragments of Trickle ICE (`application/trickle-ice-sdpfrag`, RFC 8840 §9): text → the credentials that it speaks
//! for. The candidates themselves are counted and dropped: a lite agent sends no checks.

use sfu_core::command::IceCredentials;
use sfu_core::unit::Mid;

use super::attribute::is_ice_text;
use super::read::LINE_LEN_MAX;
use crate::candidate::{CANDIDATE_LEN_MAX, CANDIDATES_MAX};

/// Longest fragment taken: all candidates that are allowed, and the lines around them.
pub const FRAGMENT_LEN_MAX: usize = 32 * 1_024;

/// m-sections of one fragment; a client in a bundle writes one.
const SECTIONS_MAX: usize = 16;

/// Why a text is not a fragment.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FragmentError {
    #[error("the fragment is longer than {max} bytes")]
    TooLong { max: usize },
    #[error("the fragment is empty")]
    Empty,
    #[error("line {0} is no a= or m= line")]
    Line(usize),
    #[error("line {line}: a={attribute} is invalid")]
    Attribute { line: usize, attribute: &'static str },
    #[error("more than {max} candidates")]
    TooManyCandidates { max: usize },
    #[error("more than {max} m-sections")]
    TooManySections { max: usize },
    #[error("ice-ufrag without ice-pwd, or the other way round")]
    HalfCredentials,
    #[error("its m-sections have different credentials")]
    Contradiction,
}

/// A parsed fragment.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fragment {
    /// The ICE session that it belongs to, or begins. Tolerant of its absence: some clients send candidates alone.
    pub ice: Option<IceCredentials>,
    /// m-sections that it speaks of.
    pub mids: Vec<Mid>,
    pub candidates: usize,
    pub end_of_candidates: bool,
}

/// Credentials as the lines of one section, or those above the first, give them.
#[derive(Default)]
struct Credentials {
    ufrag: Option<String>,
    pwd: Option<String>,
}

impl Credentials {
    /// What they say; nothing when there are none.
    fn finish(&mut self) -> Result<Option<IceCredentials>, FragmentError> {
        match (self.ufrag.take(), self.pwd.take()) {
            (Some(ufrag), Some(pwd)) => Ok(Some(IceCredentials { ufrag, pwd })),
            (None, None) => Ok(None),
            _ => Err(FragmentError::HalfCredentials),
        }
    }
}

impl Fragment {
    /// Parses `text`; lines may end with LF alone.
    pub fn parse(text: &str) -> Result<Fragment, FragmentError> {
        if text.len() > FRAGMENT_LEN_MAX {
            return Err(FragmentError::TooLong { max: FRAGMENT_LEN_MAX });
        }
        let mut fragment = Fragment::default();
        let mut section = Credentials::default();
        let (mut sections, mut lines) = (0usize, 0usize);
        for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty()) {
            lines += 1;
            match line.split_once('=') {
                Some(("a", _)) if line.len() > LINE_LEN_MAX => return Err(FragmentError::Line(number)),
                Some(("a", attribute)) => fragment.attribute(number, attribute, &mut section)?,
                Some(("m", _)) => {
                    sections += 1;
                    if sections > SECTIONS_MAX {
                        return Err(FragmentError::TooManySections { max: SECTIONS_MAX });
                    }
                    fragment.settle(&mut section)?;
                }
                _ => return Err(FragmentError::Line(number)),
            }
        }
        if lines == 0 {
            return Err(FragmentError::Empty);
        }
        fragment.settle(&mut section)?;
        Ok(fragment)
    }

    fn attribute(
        &mut self,
        line: usize,
        attribute: &str,
        section: &mut Credentials,
    ) -> Result<(), FragmentError> {
        let (key, value) = attribute.split_once(':').unwrap_or((attribute, ""));
        let invalid = |attribute| FragmentError::Attribute { line, attribute };
        match key {
            "ice-ufrag" if is_ice_text(value, 4) => section.ufrag = Some(value.to_owned()),
            "ice-ufrag" => return Err(invalid("ice-ufrag")),
            "ice-pwd" if is_ice_text(value, 22) => section.pwd = Some(value.to_owned()),
            "ice-pwd" => return Err(invalid("ice-pwd")),
            "mid" => self.mids.push(Mid::new(value.as_bytes()).ok_or(invalid("mid"))?),
            "candidate" => {
                self.candidates += 1;
                // Its words are nobody's business: whatever follows the grammar's length is dropped (RFC 9725 §4.3.2).
                if value.is_empty() || value.len() > CANDIDATE_LEN_MAX {
                    return Err(invalid("candidate"));
                }
                if self.candidates > CANDIDATES_MAX {
                    return Err(FragmentError::TooManyCandidates { max: CANDIDATES_MAX });
                }
            }
            "end-of-candidates" => self.end_of_candidates = true,
            // RFC 8840 §9.2: what is unknown is ignored.
            _ => {}
        }
        Ok(())
    }

    /// A section, or what stands above the first, is over.
    fn settle(&mut self, section: &mut Credentials) -> Result<(), FragmentError> {
        let Some(ice) = section.finish()? else { return Ok(()) };
        match &self.ice {
            Some(known) if *known != ice => Err(FragmentError::Contradiction),
            _ => {
                self.ice = Some(ice);
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 9725 §4.3.2, cut short.
    const TRICKLE: &str = "a=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n\
        a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n\
        a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n\
        a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0 ufrag EsAw\r\n\
        a=end-of-candidates\r\n";

    #[test]
    fn the_example_of_the_specification_is_read() {
        let fragment = Fragment::parse(TRICKLE).unwrap();
        let ice = fragment.ice.unwrap();
        assert_eq!((ice.ufrag.as_str(), ice.pwd.as_str()), ("EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"));
        assert_eq!(fragment.mids, [Mid::new(b"0").unwrap()]);
        assert_eq!((fragment.candidates, fragment.end_of_candidates), (2, true));
    }

    #[test]
    fn credentials_may_stand_above_the_sections_and_lines_may_end_with_lf() {
        let text =
            "a=ice-ufrag:EsAw\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\na=x-new:1\nm=audio 9 RTP/AVP 0\na=mid:0\n";
        assert_eq!(Fragment::parse(text).unwrap().ice.unwrap().ufrag, "EsAw");
    }

    #[test]
    fn what_is_no_fragment_says_why() {
        let many = "a=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n".repeat(CANDIDATES_MAX + 1);
        let sections = "m=audio 9 RTP/AVP 0\r\n".repeat(SECTIONS_MAX + 1);
        let two = "m=audio 9 X 0\na=ice-ufrag:aaaa\na=ice-pwd:0123456789012345678901\n\
            m=video 9 X 0\na=ice-ufrag:bbbb\na=ice-pwd:0123456789012345678901\n";
        for (text, expected) in [
            ("", FragmentError::Empty),
            ("\r\n\r\n", FragmentError::Empty),
            ("v=0\r\n", FragmentError::Line(1)),
            ("a=mid:0\r\nnonsense", FragmentError::Line(2)),
            ("a=ice-ufrag:EsAw\r\n", FragmentError::HalfCredentials),
            ("a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\n", FragmentError::HalfCredentials),
            ("a=ice-ufrag:a b!\r\n", FragmentError::Attribute { line: 1, attribute: "ice-ufrag" }),
            ("a=ice-pwd:short\r\n", FragmentError::Attribute { line: 1, attribute: "ice-pwd" }),
            ("a=candidate\r\n", FragmentError::Attribute { line: 1, attribute: "candidate" }),
            ("a=mid:\r\n", FragmentError::Attribute { line: 1, attribute: "mid" }),
            (two, FragmentError::Contradiction),
            (&many, FragmentError::TooManyCandidates { max: CANDIDATES_MAX }),
            (&sections, FragmentError::TooManySections { max: SECTIONS_MAX }),
            (&"a".repeat(FRAGMENT_LEN_MAX + 1), FragmentError::TooLong { max: FRAGMENT_LEN_MAX }),
        ] {
            assert_eq!(
                Fragment::parse(text),
                Err(expected),
                "{:?}",
                text.chars().take(60).collect::<String>()
            );
        }
    }

    #[test]
    fn any_cut_and_any_change_of_a_fragment_is_survived() {
        for end in 0..=TRICKLE.len() {
            let _ = Fragment::parse(&TRICKLE[..end]);
        }
        for at in 0..TRICKLE.len() {
            for byte in [0u8, b'\n', b'=', b':', b' ', 0x7f] {
                let mut bytes = TRICKLE.as_bytes().to_vec();
                bytes[at] = byte;
                let _ = Fragment::parse(std::str::from_utf8(&bytes).unwrap());
            }
        }
        let _ = Fragment::parse("a=ice-ufrag:ÄÖÜß\u{2028}a=mid:é");
    }
}
