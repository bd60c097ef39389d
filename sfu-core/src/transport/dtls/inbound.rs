//! The door of an association: takes datagrams apart into records (RFC 6347 §4.1, RFC 9147 §4), puts
//! plaintext handshake messages together, and hands on datagrams in which every plaintext handshake
//! message is whole. Encrypted records pass as they are, counted while the handshake lasts. A library behind
//! it meets neither fragments nor floods. Knows no keys.

use super::assembler::{Assembler, Fragment, Message, Pushed};
use super::reader::Reader;

const RECORD_HEADER_LEN: usize = 13;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;
const ACK: u8 = 26;

const ALERT_LEVEL_FATAL: u8 = 2;
pub(super) const ALERT_CLOSE_NOTIFY: u8 = 0;

/// Records in one datagram. The fullest flight that we know has five.
const MAX_RECORDS_PER_DATAGRAM: usize = 8;

/// Encrypted handshake records over the life of an association of DTLS 1.2, and encrypted datagrams of a
/// 1.3 handshake: libraries buffer and answer them, and no client needs more than a few flights with
/// their repeats.
const MAX_ENCRYPTED_HANDSHAKE_RECORDS: u32 = 64;

/// In DTLS 1.2 only Finished is encrypted, and with every cipher suite that we take it is shorter.
/// Bounds what an authenticated peer can pack into one record as fragments.
const MAX_ENCRYPTED_HANDSHAKE_LEN: usize = 128;

/// What a datagram turned into.
#[derive(Debug, Default)]
pub(super) struct Sifted {
    /// For the library: whole plaintext messages and everything encrypted, in the order of arrival.
    pub(super) datagram: Vec<u8>,
    /// Handshake messages that this datagram completed.
    pub(super) messages: Vec<Message>,
    /// A plaintext message that had been complete before came again.
    pub(super) repeated: bool,
    /// Holds an encrypted record.
    pub(super) encrypted: bool,
    /// The description of a plaintext alert that ends a handshake (RFC 5246 §7.2).
    pub(super) alert: Option<u8>,
    /// A bound was reached.
    pub(super) exhausted: bool,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Inbound {
    assembler: Assembler,
    encrypted_handshake_records: u32,
}

/// One record with a DTLS 1.2 header.
#[derive(Debug)]
struct Record<'a> {
    kind: u8,
    epoch: u16,
    /// Type, version, epoch and sequence number as they came.
    header: &'a [u8],
    body: &'a [u8],
}

impl Inbound {
    /// Sifts one datagram. `connected`: from then on plaintext alerts are ignored; anybody could forge them.
    pub(super) fn sift(&mut self, datagram: &[u8], connected: bool) -> Sifted {
        let mut sifted = Sifted::default();
        let mut reader = Reader::new(datagram);
        for _ in 0..MAX_RECORDS_PER_DATAGRAM {
            match reader.rest().first() {
                None => break,
                // The unified header of DTLS 1.3 (RFC 9147 §4): its length may be left out, so what
                // follows is the library's to take apart. All of it is authenticated.
                Some(32..=63) => {
                    if !connected {
                        self.count_encrypted(&mut sifted);
                    }
                    sifted.encrypted = true;
                    sifted.datagram.extend_from_slice(reader.rest());
                    break;
                }
                Some(_) => {}
            }
            let Some(record) = read_record(&mut reader) else { break };
            if record.epoch == 0 {
                self.sift_plaintext(&record, connected, &mut sifted);
            } else {
                self.sift_encrypted(&record, &mut sifted);
            }
        }
        if sifted.exhausted {
            sifted.datagram.clear();
        }
        sifted
    }

    fn sift_encrypted(&mut self, record: &Record<'_>, sifted: &mut Sifted) {
        match record.kind {
            HANDSHAKE if record.body.len() > MAX_ENCRYPTED_HANDSHAKE_LEN => return,
            HANDSHAKE => self.count_encrypted(sifted),
            ALERT | APPLICATION_DATA => {}
            _ => return,
        }
        sifted.encrypted = true;
        write_record(record.header, record.body, &mut sifted.datagram);
    }

    fn count_encrypted(&mut self, sifted: &mut Sifted) {
        if self.encrypted_handshake_records >= MAX_ENCRYPTED_HANDSHAKE_RECORDS {
            sifted.exhausted = true;
        }
        self.encrypted_handshake_records = self.encrypted_handshake_records.saturating_add(1);
    }

    fn sift_plaintext(&mut self, record: &Record<'_>, connected: bool, sifted: &mut Sifted) {
        match record.kind {
            HANDSHAKE => self.sift_handshake(record, sifted),
            // Other warnings say nothing that we act on, though libraries take them for the end.
            ALERT if !connected => {
                if let [ALERT_LEVEL_FATAL, description] | [_, description @ ALERT_CLOSE_NOTIFY] = *record.body
                {
                    sifted.alert.get_or_insert(description);
                }
            }
            CHANGE_CIPHER_SPEC | ACK => write_record(record.header, record.body, &mut sifted.datagram),
            _ => {}
        }
    }

    /// Writes one record for each that completes a message, under the same sequence number, so that
    /// replay windows and acknowledgements stay right.
    fn sift_handshake(&mut self, record: &Record<'_>, sifted: &mut Sifted) {
        let mut body = Vec::new();
        let mut reader = Reader::new(record.body);
        while !reader.is_empty() {
            let Some(fragment) = read_fragment(&mut reader) else { break };
            match self.assembler.push(fragment) {
                Pushed::Kept => {}
                Pushed::Refused => continue,
                Pushed::Exhausted => {
                    sifted.exhausted = true;
                    return;
                }
                Pushed::Repeated => {
                    sifted.repeated = true;
                    if fragment.is_whole() {
                        let Fragment { kind, message_seq, bytes, .. } = fragment;
                        Message { kind, message_seq, body: bytes.to_vec() }.write_to(&mut body);
                    }
                }
            }
            while let Some(message) = self.assembler.pop() {
                message.write_to(&mut body);
                sifted.messages.push(message);
            }
        }
        if !body.is_empty() {
            write_record(record.header, &body, &mut sifted.datagram);
        }
    }
}

fn read_record<'a>(reader: &mut Reader<'a>) -> Option<Record<'a>> {
    let mut fields = Reader::new(reader.rest());
    let header = reader.take(RECORD_HEADER_LEN - 2)?;
    let kind = fields.u8()?;
    let version = fields.u16()?;
    let epoch = fields.u16()?;
    let body = reader.vector16()?.rest();
    // RFC 6347 §4.2.1 and RFC 9147 §4: 1.0 in a first ClientHello, else 1.2.
    matches!(version, 0xfeff | 0xfefd).then_some(Record { kind, epoch, header, body })
}

fn read_fragment<'a>(reader: &mut Reader<'a>) -> Option<Fragment<'a>> {
    let kind = reader.u8()?;
    let length = reader.u24()?;
    let message_seq = reader.u16()?;
    let offset = reader.u24()?;
    let fragment_length = reader.u24()?;
    let bytes = reader.take(fragment_length as usize)?;
    Some(Fragment { kind, length, message_seq, offset, bytes })
}

/// A record that would not fit its length field is left out: only a peer that packs many huge
/// messages into one record can ask for it.
fn write_record(header: &[u8], body: &[u8], out: &mut Vec<u8>) {
    if let Ok(len) = u16::try_from(body.len()) {
        out.extend_from_slice(header);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(body);
    }
}

/// Adds `shift` to the sequence numbers of the plaintext records at the head of a datagram that *we* send.
pub(super) fn renumber_plaintext(datagram: &mut [u8], shift: u64) {
    let mut rest = datagram;
    while let Some((header, tail)) = rest.split_first_chunk_mut::<RECORD_HEADER_LEN>() {
        let [kind, _, _, 0, 0, a, b, c, d, e, f, len @ ..] = header else { return };
        if *kind >= 32 {
            return;
        }
        let seq = u64::from_be_bytes([0, 0, *a, *b, *c, *d, *e, *f]).saturating_add(shift);
        [_, _, *a, *b, *c, *d, *e, *f] = seq.to_be_bytes();
        let len = usize::from(u16::from_be_bytes(*len));
        let Some((_, next)) = tail.split_at_mut_checked(len) else { return };
        rest = next;
    }
}

/// Takes the plaintext handshake messages of a datagram that *we* send, for the transcript.
pub(super) fn plaintext_fragments(datagram: &[u8], mut each: impl FnMut(Fragment<'_>)) {
    let mut reader = Reader::new(datagram);
    while let Some(record) = read_record(&mut reader) {
        if record.epoch == 0 && record.kind == HANDSHAKE {
            let mut body = Reader::new(record.body);
            while let Some(fragment) = read_fragment(&mut body) {
                each(fragment);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u16, seq: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![kind, 0xfe, 0xfd];
        out.extend_from_slice(&epoch.to_be_bytes());
        out.extend_from_slice(&[0, 0, 0, 0, 0, seq]);
        out.extend_from_slice(&(body.len() as u16).to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    fn fragment(length: u8, message_seq: u8, offset: u8, bytes: &[u8]) -> Vec<u8> {
        let mut out = vec![1, 0, 0, length, 0, message_seq, 0, 0, offset, 0, 0, bytes.len() as u8];
        out.extend_from_slice(bytes);
        out
    }

    #[test]
    fn two_fragments_leave_as_one_record_under_the_number_of_the_last() {
        let mut inbound = Inbound::default();
        let first = inbound.sift(&record(HANDSHAKE, 0, 4, &fragment(100, 0, 0, &[1; 60])), false);
        assert!(first.datagram.is_empty());
        let second = inbound.sift(&record(HANDSHAKE, 0, 5, &fragment(100, 0, 60, &[1; 40])), false);
        assert_eq!(second.datagram, record(HANDSHAKE, 0, 5, &fragment(100, 0, 0, &[1; 100])));
        assert_eq!(second.messages.len(), 1);
    }

    #[test]
    fn a_repeated_whole_message_passes_and_a_repeated_fragment_does_not() {
        let mut inbound = Inbound::default();
        let whole = record(HANDSHAKE, 0, 0, &fragment(100, 0, 0, &[1; 100]));
        inbound.sift(&whole, false);
        let again = inbound.sift(&whole, false);
        assert!(again.repeated && again.datagram == whole && again.messages.is_empty());
        let part = inbound.sift(&record(HANDSHAKE, 0, 1, &fragment(100, 0, 0, &[1; 60])), false);
        assert!(part.repeated && part.datagram.is_empty());
    }

    #[test]
    fn encrypted_and_cipher_change_records_keep_their_bytes() {
        let mut inbound = Inbound::default();
        let datagram = [record(CHANGE_CIPHER_SPEC, 0, 1, &[1]), record(HANDSHAKE, 1, 0, &[9; 40])].concat();
        let sifted = inbound.sift(&datagram, false);
        assert_eq!(sifted.datagram, datagram);
        assert!(sifted.encrypted);
    }

    #[test]
    fn plaintext_alerts_count_only_before_connected_and_only_when_fatal() {
        let mut inbound = Inbound::default();
        let fatal = record(ALERT, 0, 0, &[2, 40]);
        let warning = record(ALERT, 0, 1, &[1, 90]);
        assert_eq!(inbound.sift(&fatal, false).alert, Some(40));
        assert_eq!(inbound.sift(&warning, false).alert, None);
        assert_eq!(inbound.sift(&fatal, true).alert, None);
    }

    #[test]
    fn a_truncated_record_ends_the_datagram() {
        let good = record(HANDSHAKE, 0, 0, &fragment(40, 0, 0, &[1; 40]));
        for cut in 1..good.len() {
            let mut inbound = Inbound::default();
            let datagram = [&good[..], &good[..cut]].concat();
            assert_eq!(inbound.sift(&datagram, false).datagram, good);
        }
    }

    #[test]
    fn a_flood_of_encrypted_handshakes_is_exhausted() {
        let mut inbound = Inbound::default();
        let finished = record(HANDSHAKE, 1, 0, &[0; 40]);
        let accepted = (0..1_000).filter(|_| !inbound.sift(&finished, false).exhausted).count();
        assert_eq!(accepted as u32, MAX_ENCRYPTED_HANDSHAKE_RECORDS);
    }

    #[test]
    fn renumbering_moves_plaintext_records_and_stops_at_encrypted_ones() {
        let mut datagram =
            [record(HANDSHAKE, 0, 1, &[1; 20]), record(20, 0, 2, &[1]), record(HANDSHAKE, 1, 3, &[9; 40])]
                .concat();
        renumber_plaintext(&mut datagram, 3);
        let expected =
            [record(HANDSHAKE, 0, 4, &[1; 20]), record(20, 0, 5, &[1]), record(HANDSHAKE, 1, 3, &[9; 40])]
                .concat();
        assert_eq!(datagram, expected);
        for len in 0..expected.len() {
            renumber_plaintext(&mut expected[..len].to_vec(), 1);
        }
    }
}
