//! The server's half of the simulated key exchange that `loadtest` calls `KeyMode::Injected`: two random numbers
//! cross, both ends derive the same SRTP keys. No secrecy, full determinism; real DTLS has a suite of its own.

use std::collections::VecDeque;

use loadtest::client::crypto::Crypto;
use sfu_core::transport::handshake::{
    DtlsRole, Fingerprint, Handshake, HandshakeEvent, HandshakeFactory, MasterKey, SrtpKeys, SrtpProfile,
};
use sfu_core::unit::Time;

/// What a datagram of the exchange begins with: a handshake record of DTLS 1.2, then the sender's role.
const FROM_CLIENT: [u8; 4] = [22, 254, 253, 0];
const FROM_SERVER: [u8; 4] = [22, 254, 253, 1];

/// Makes server-side exchanges; `seed` tells one world's keys from another's.
#[derive(Debug)]
pub struct InjectedKeys {
    pub seed: u64,
}

impl HandshakeFactory for InjectedKeys {
    fn create(&self, _now: Time, role: DtlsRole, _remote: &[Fingerprint]) -> Box<dyn Handshake> {
        assert_eq!(role, DtlsRole::Server, "the simulated client offers actpass or active");
        Box::new(Exchange { seed: self.seed, connected: false, events: VecDeque::new() })
    }
}

#[derive(Debug)]
struct Exchange {
    seed: u64,
    connected: bool,
    events: VecDeque<HandshakeEvent>,
}

impl Handshake for Exchange {
    fn start(&mut self, _now: Time) {}

    /// Answers every repeat of the client's number, because any answer may have been lost.
    fn receive(&mut self, _now: Time, datagram: &[u8]) {
        let Some(client) = datagram.strip_prefix(&FROM_CLIENT).filter(|random| random.len() == 32) else {
            return;
        };
        let crypto = Crypto::new().unwrap();
        let server = crypto.sha256(&[&self.seed.to_be_bytes()[..], client].concat());
        self.events.push_back(HandshakeEvent::Transmit([&FROM_SERVER[..], &server[..]].concat()));
        if !std::mem::replace(&mut self.connected, true) {
            let material: Vec<u8> = (0..2u8)
                .flat_map(|counter| crypto.sha256(&[client, &server[..], &[counter]].concat()))
                .collect();
            self.events.push_back(HandshakeEvent::Connected(Box::new(keys(&material))));
        }
    }

    fn handle_timeout(&mut self, _now: Time) {}

    fn next_timeout(&self) -> Option<Time> {
        None
    }

    fn send_application_data(&mut self, _now: Time, _data: &[u8]) {}

    fn close(&mut self, _now: Time) {}

    fn poll(&mut self) -> Option<HandshakeEvent> {
        self.events.pop_front()
    }
}

/// Client key, server key, client salt, server salt, as RFC 5764 §4.2 lays out exported material.
fn keys(material: &[u8]) -> SrtpKeys {
    SrtpKeys {
        profile: SrtpProfile::AeadAes128Gcm,
        remote: MasterKey { key: material[..16].to_vec(), salt: material[32..44].to_vec() },
        local: MasterKey { key: material[16..32].to_vec(), salt: material[44..56].to_vec() },
    }
}
