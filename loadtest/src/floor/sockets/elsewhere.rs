//! What stands for them on other systems: a reason why there are none.

use super::Receivers;
use crate::floor::clock::CpuClock;

const REASON: &str = "batched system calls are measured on Linux only";

/// Not on this system.
#[derive(Debug)]
pub struct Sender(std::convert::Infallible);

/// Not on this system.
#[derive(Debug)]
pub struct Receiver(std::convert::Infallible);

impl Sender {
    pub fn new(_: usize, _: usize, _: usize, _: Receivers) -> Result<Sender, String> {
        Err(REASON.into())
    }

    pub fn send_one_by_one(&mut self, _: CpuClock) -> Result<f64, String> {
        match self.0 {}
    }

    pub fn send_batches(&mut self, _: CpuClock) -> Result<f64, String> {
        match self.0 {}
    }
}

impl Receiver {
    pub fn new(_: usize, _: usize) -> Result<Receiver, String> {
        Err(REASON.into())
    }

    pub fn receive_batches(&mut self, _: CpuClock) -> Result<f64, String> {
        match self.0 {}
    }
}
