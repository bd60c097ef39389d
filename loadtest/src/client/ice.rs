//! The client's side of ICE towards an ICE-lite server (RFC 8445): it is controlling, checks the server's host
//! candidates, nominates the first that answers, and keeps consent fresh (RFC 7675). Knows nothing of media.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rtc_stun::attributes::{ATTR_USERNAME, AttrType};
use rtc_stun::fingerprint::FINGERPRINT;
use rtc_stun::integrity::MessageIntegrity;
use rtc_stun::message::{BINDING_ERROR, BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};
use rtc_stun::textattrs::TextAttribute;
use rtc_stun::xoraddr::XorMappedAddress;

use super::crypto::Crypto;
use crate::net::Time;

/// Time between two checks of one candidate while there is no valid pair, and before a lost consent check is
/// repeated.
const CHECK_INTERVAL: Duration = Duration::from_millis(100);
const CONSENT_RETRY: Duration = Duration::from_millis(500);

/// Consent is gone after this long without an answer (RFC 7675 §5.1).
pub const CONSENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Checks that may wait for an answer; older ones are forgotten.
const TRANSACTIONS_MAX: usize = 64;

/// RFC 8445 §5.1.2.1 for a peer-reflexive candidate of component 1.
const PRIORITY: u32 = (110 << 24) | (65_535 << 8) | 255;

const ATTR_PRIORITY: AttrType = AttrType(0x0024);
const ATTR_USE_CANDIDATE: AttrType = AttrType(0x0025);
const ATTR_ICE_CONTROLLING: AttrType = AttrType(0x802a);

/// `ice-ufrag` and `ice-pwd` (RFC 8839 §5.4).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IceCredentials {
    pub ufrag: String,
    pub pwd: String,
}

impl IceCredentials {
    pub fn random(rng: &mut StdRng) -> IceCredentials {
        let mut text = |len| (0..len).map(|_| char::from(rng.sample(rand::distr::Alphanumeric))).collect();
        IceCredentials { ufrag: text(8), pwd: text(24) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum IceState {
    /// The server's side is not known yet.
    #[default]
    New,
    Checking,
    Connected,
    /// Consent has expired.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct IceCounters {
    pub checks_sent: u64,
    pub responses: u64,
    /// Answers that name no check of ours, or that aren't authentic.
    pub invalid_responses: u64,
    /// Answers from another address than the check went to.
    pub asymmetric_responses: u64,
    pub error_responses: u64,
}

/// One ICE session.
#[derive(Debug)]
pub struct Ice {
    local: IceCredentials,
    /// Offered in a restart, in use once the server has answered.
    next_local: Option<IceCredentials>,
    remote: IceCredentials,
    candidates: Vec<SocketAddr>,
    state: IceState,
    selected: Option<SocketAddr>,
    /// What the server sees as our address.
    mapped: Option<SocketAddr>,
    consent_interval: Duration,
    last_response: Time,
    next_check: Option<Time>,
    rtt: Option<Duration>,
    tie_breaker: u64,
    transactions: BTreeMap<[u8; 12], Transaction>,
    transmits: VecDeque<(SocketAddr, Vec<u8>)>,
    counters: IceCounters,
    crypto: Crypto,
}

#[derive(Debug)]
struct Transaction {
    to: SocketAddr,
    at: Time,
    nominating: bool,
}

impl Ice {
    pub fn new(local: IceCredentials, consent_interval: Duration, crypto: Crypto) -> Ice {
        Ice {
            local,
            next_local: None,
            remote: IceCredentials::default(),
            candidates: Vec::new(),
            state: IceState::New,
            selected: None,
            mapped: None,
            consent_interval,
            last_response: Time::ZERO,
            next_check: None,
            rtt: None,
            tie_breaker: 1,
            transactions: BTreeMap::new(),
            transmits: VecDeque::new(),
            counters: IceCounters::default(),
            crypto,
        }
    }

    /// The server's side, from its SDP. New credentials start the checks again; the selected pair stays in use
    /// until another is nominated.
    pub fn set_remote(&mut self, now: Time, remote: IceCredentials, candidates: Vec<SocketAddr>) {
        if !candidates.is_empty() {
            self.candidates = candidates;
        }
        if remote != self.remote {
            self.remote = remote;
            self.local = self.next_local.take().unwrap_or_else(|| self.local.clone());
            self.transactions.clear();
            self.state = IceState::Checking;
            self.last_response = now;
            self.next_check = Some(now);
        }
    }

    /// New local credentials for a restart (RFC 8445 §9); they count once the server has answered the offer.
    pub fn restart(&mut self, local: IceCredentials) {
        self.next_local = Some(local);
    }

    /// The credentials to write into SDP.
    pub fn offered(&self) -> &IceCredentials {
        self.next_local.as_ref().unwrap_or(&self.local)
    }

    pub fn state(&self) -> IceState {
        self.state
    }

    /// Where media goes.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub fn mapped(&self) -> Option<SocketAddr> {
        self.mapped
    }

    /// Of the last check that was answered.
    pub fn rtt(&self) -> Option<Duration> {
        self.rtt
    }

    pub fn counters(&self) -> IceCounters {
        self.counters
    }

    pub fn next_timeout(&self) -> Option<Time> {
        self.next_check
    }

    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.transmits.pop_front()
    }

    pub fn handle_timeout(&mut self, now: Time, rng: &mut StdRng) {
        if self.next_check.is_none_or(|at| at > now) {
            return;
        }
        if now.since(self.last_response) >= CONSENT_TIMEOUT {
            self.state = IceState::Failed;
            self.selected = None;
            self.next_check = None;
            return;
        }
        match (self.state, self.selected) {
            (IceState::Connected, Some(to)) => {
                self.check(now, to, true, rng);
                self.next_check = Some(now + CONSENT_RETRY);
            }
            _ => {
                let nominate = self.candidates.len() == 1;
                for to in self.candidates.clone() {
                    self.check(now, to, nominate, rng);
                }
                self.next_check = Some(now + CHECK_INTERVAL);
            }
        }
    }

    /// A STUN datagram. Only answers are expected: a lite server asks nothing.
    pub fn receive(&mut self, now: Time, from: SocketAddr, datagram: &[u8], rng: &mut StdRng) {
        let mut message = Message::new();
        if message.unmarshal_binary(datagram).is_err() {
            self.counters.invalid_responses += 1;
            return;
        }
        if message.typ == BINDING_ERROR {
            self.counters.error_responses += 1;
            return;
        }
        let authentic = message.typ == BINDING_SUCCESS
            && FINGERPRINT.check(&message).is_ok()
            && MessageIntegrity::check(&mut message, self.remote.pwd.as_bytes(), self.crypto.provider())
                .is_ok();
        let Some(transaction) =
            authentic.then(|| self.transactions.remove(&message.transaction_id.0)).flatten()
        else {
            self.counters.invalid_responses += 1;
            return;
        };
        if transaction.to != from {
            // RFC 8445 §7.2.5.2.1: such a check has failed.
            self.counters.asymmetric_responses += 1;
            return;
        }
        self.counters.responses += 1;
        self.answered(now, &message, &transaction, rng);
    }

    fn answered(&mut self, now: Time, message: &Message, transaction: &Transaction, rng: &mut StdRng) {
        let mut mapped = XorMappedAddress::default();
        if rtc_stun::message::Getter::get_from(&mut mapped, message).is_ok() {
            self.mapped = Some(SocketAddr::new(mapped.ip, mapped.port));
        }
        self.last_response = now;
        self.rtt = Some(now.since(transaction.at));
        if transaction.nominating {
            self.selected = Some(transaction.to);
            self.state = IceState::Connected;
            self.next_check = Some(now + self.consent_interval);
        } else if self.state == IceState::Checking {
            self.check(now, transaction.to, true, rng);
        }
    }

    fn check(&mut self, now: Time, to: SocketAddr, nominating: bool, rng: &mut StdRng) {
        let id: [u8; 12] = rng.random();
        let Some(datagram) = self.binding_request(id, nominating) else { return };
        self.counters.checks_sent += 1;
        if self.transactions.len() >= TRANSACTIONS_MAX {
            let oldest = self.transactions.iter().min_by_key(|(_, t)| t.at).map(|(id, _)| *id);
            oldest.and_then(|id| self.transactions.remove(&id));
        }
        self.transactions.insert(id, Transaction { to, at: now, nominating });
        self.transmits.push_back((to, datagram));
    }

    fn binding_request(&self, id: [u8; 12], nominating: bool) -> Option<Vec<u8>> {
        let mut message = Message::new();
        message.set_type(BINDING_REQUEST);
        message.transaction_id = TransactionId(id);
        message.write_header();
        let username = format!("{}:{}", self.remote.ufrag, self.local.ufrag);
        TextAttribute::new(ATTR_USERNAME, username).add_to(&mut message).ok()?;
        message.add(ATTR_PRIORITY, &PRIORITY.to_be_bytes());
        message.add(ATTR_ICE_CONTROLLING, &self.tie_breaker.to_be_bytes());
        if nominating {
            message.add(ATTR_USE_CANDIDATE, &[]);
        }
        let crypto = self.crypto.provider();
        MessageIntegrity::new_short_term_integrity_with_provider(self.remote.pwd.clone(), crypto)
            .add_to(&mut message)
            .ok()?;
        FINGERPRINT.add_to(&mut message).ok()?;
        Some(message.raw)
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const SERVER: &str = "198.51.100.1:7882";

    fn crypto() -> Crypto {
        Crypto::new().unwrap()
    }

    fn server_credentials() -> IceCredentials {
        IceCredentials { ufrag: "serverufrag".into(), pwd: "server-password-of-22+".into() }
    }

    /// A lite agent made of `rtc-stun`: checks the request and answers it with `pwd`.
    fn respond(request: &[u8], pwd: &str) -> (Message, Vec<u8>) {
        let mut message = Message::new();
        message.unmarshal_binary(request).unwrap();
        let provider = crypto();
        MessageIntegrity::check(&mut message, server_credentials().pwd.as_bytes(), provider.provider())
            .unwrap();
        FINGERPRINT.check(&message).unwrap();
        let mut answer = Message::new();
        answer.set_type(BINDING_SUCCESS);
        answer.transaction_id = message.transaction_id;
        answer.write_header();
        let mapped = XorMappedAddress { ip: "192.0.2.7".parse().unwrap(), port: 4_000 };
        mapped.add_to(&mut answer).unwrap();
        MessageIntegrity::new_short_term_integrity_with_provider(pwd.into(), provider.provider())
            .add_to(&mut answer)
            .unwrap();
        FINGERPRINT.add_to(&mut answer).unwrap();
        (message, answer.raw)
    }

    fn started() -> (Ice, StdRng, SocketAddr) {
        let mut rng = StdRng::seed_from_u64(1);
        let server: SocketAddr = SERVER.parse().unwrap();
        let mut ice = Ice::new(IceCredentials::random(&mut rng), Duration::from_millis(2_500), crypto());
        ice.set_remote(Time::ZERO, server_credentials(), vec![server]);
        ice.handle_timeout(Time::ZERO, &mut rng);
        (ice, rng, server)
    }

    #[test]
    fn a_check_carries_what_rfc_8445_asks_and_its_answer_connects() {
        let (mut ice, mut rng, server) = started();
        let (to, request) = ice.poll_transmit().unwrap();
        assert_eq!(to, server);
        let (message, answer) = respond(&request, &server_credentials().pwd);
        let username = format!("serverufrag:{}", ice.offered().ufrag);
        assert_eq!(message.get(ATTR_USERNAME).unwrap(), username.as_bytes());
        for attribute in [ATTR_PRIORITY, ATTR_ICE_CONTROLLING, ATTR_USE_CANDIDATE] {
            assert!(message.contains(attribute), "{attribute}");
        }
        ice.receive(Time::from_millis(40), server, &answer, &mut rng);
        assert_eq!(ice.state(), IceState::Connected);
        assert_eq!(ice.selected(), Some(server));
        assert_eq!(ice.rtt(), Some(Duration::from_millis(40)));
        assert_eq!(ice.mapped(), Some("192.0.2.7:4000".parse().unwrap()));
        assert_eq!(ice.next_timeout(), Some(Time::from_millis(2_540)));
    }

    #[test]
    fn answers_with_a_wrong_key_or_from_elsewhere_do_not_connect() {
        let (mut ice, mut rng, server) = started();
        let (_, request) = ice.poll_transmit().unwrap();
        let (_, forged) = respond(&request, "some-other-password");
        ice.receive(Time::ZERO, server, &forged, &mut rng);
        ice.receive(Time::ZERO, server, &[0; 40], &mut rng);
        assert_eq!(ice.counters().invalid_responses, 2);
        let (_, answer) = respond(&request, &server_credentials().pwd);
        ice.receive(Time::ZERO, "203.0.113.5:1".parse().unwrap(), &answer, &mut rng);
        assert_eq!(ice.counters().asymmetric_responses, 1);
        assert_eq!(ice.state(), IceState::Checking);
    }

    #[test]
    fn consent_is_asked_for_again_and_expires_without_answers() {
        let (mut ice, mut rng, server) = started();
        let (_, request) = ice.poll_transmit().unwrap();
        let (_, answer) = respond(&request, &server_credentials().pwd);
        ice.receive(Time::ZERO, server, &answer, &mut rng);
        let mut asked = 0;
        while let Some(at) = ice.next_timeout() {
            ice.handle_timeout(at, &mut rng);
            while ice.poll_transmit().is_some() {
                asked += 1;
            }
            assert!(at <= Time::from_secs(31));
        }
        assert!(asked > 50, "{asked}");
        assert_eq!(ice.state(), IceState::Failed);
        assert_eq!(ice.selected(), None);
    }
}
