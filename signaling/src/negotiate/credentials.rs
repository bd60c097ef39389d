//! ICE credentials of ours. The ufrag tells a router, before any state exists, which process and which worker a flow
//! belongs to: node(4) worker(2) random(10).

use rand::Rng;
use rand::rngs::StdRng;
use sfu_core::command::IceCredentials;
use sfu_core::unit::WorkerId;

/// `ice-char` (RFC 8839 §5.4): 64 of them, so that each is worth six bits.
const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Random characters of a ufrag: 60 bits, of 24 that RFC 8445 §5.3 demands.
const UFRAG_RANDOM: usize = 10;

/// Characters of a password: 144 bits, of 128 that RFC 8445 §5.3 demands.
const PWD_LEN: usize = 24;

/// Names this process among those behind one address: 4 ICE characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NodeId([u8; 4]);

impl NodeId {
    /// `None` unless `text` has four characters out of `A–Z a–z 0–9 + /`.
    pub fn new(text: &str) -> Option<NodeId> {
        let bytes: [u8; 4] = text.as_bytes().try_into().ok()?;
        bytes.iter().all(|byte| ICE_CHARS.contains(byte)).then_some(NodeId(bytes))
    }
}

/// What all ufrags of one worker begin with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UfragPrefix(String);

impl UfragPrefix {
    /// Two base-36 digits name the worker; beyond 1,296 workers they repeat.
    pub fn new(node: NodeId, worker: WorkerId) -> UfragPrefix {
        let digit = |value: u16| char::from_digit(u32::from(value % 36), 36).unwrap_or('0');
        let mut prefix: String = node.0.iter().map(|byte| char::from(*byte)).collect();
        prefix.extend([digit(worker.0 / 36), digit(worker.0)]);
        UfragPrefix(prefix)
    }

    pub fn generate(&self, rng: &mut StdRng) -> IceCredentials {
        IceCredentials {
            ufrag: format!("{}{}", self.0, ice_text(rng, UFRAG_RANDOM)),
            pwd: ice_text(rng, PWD_LEN),
        }
    }
}

/// `len` random ICE characters: six unpredictable bits each.
pub fn ice_text(rng: &mut StdRng, len: usize) -> String {
    let pick = |_| ICE_CHARS.get(rng.random_range(0..ICE_CHARS.len())).copied().map_or('A', char::from);
    (0..len).map(pick).collect()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_ufrag_names_node_and_worker() {
        let prefix = UfragPrefix::new(NodeId::new("n0de").unwrap(), WorkerId(37));
        let mut rng = StdRng::from_seed([1; 32]);
        let (one, two) = (prefix.generate(&mut rng), prefix.generate(&mut rng));
        assert!(one.ufrag.starts_with("n0de11"));
        assert_eq!((one.ufrag.len(), one.pwd.len()), (16, 24));
        assert_ne!(one, two);
        assert!(NodeId::new("a-b!").is_none());
    }
}
