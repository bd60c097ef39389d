//! One worker's world: datagrams, commands and timeouts go in; sealed datagrams and events come out.

use std::time::Duration;

use crate::command::Command;
use crate::drop::Counters;
use crate::event::Event;
use crate::output::{Path, SendBatch};
use crate::transport::handshake::HandshakeFactory;
use crate::unit::Time;

/// What an engine is told at birth.
#[derive(Clone, Debug)]
pub struct SfuConfig {
    /// Wall clock at [`Time::ZERO`], since 1900 (NTP epoch); only written into sender reports.
    pub ntp_at_zero: Duration,
}

/// One worker's world.
#[derive(Debug)]
pub struct Sfu {
    counters: Counters,
}

impl Sfu {
    pub fn new(_config: SfuConfig, _handshakes: Box<dyn HandshakeFactory>, _seed: [u8; 32]) -> Sfu {
        Sfu { counters: Counters::default() }
    }
    pub fn command(&mut self, _now: Time, _command: Command) {}
    pub fn receive(&mut self, _now: Time, _path: Path, _datagram: &mut [u8]) {}
    pub fn handle_timeout(&mut self, _now: Time) {}
    pub fn next_timeout(&self) -> Option<Time> {
        None
    }
    pub fn release(&mut self, _now: Time, _batch: &mut SendBatch) -> bool {
        false
    }
    pub fn poll_event(&mut self) -> Option<Event> {
        None
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
}
