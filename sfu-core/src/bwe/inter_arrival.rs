//! Groups packets that left together, and tells how much longer each group took than the one before it
//! (draft-ietf-rmcat-gcc-02 §5.2). Knows nothing of what a longer way means.

use crate::bwe::feedback::RemoteTime;
use crate::unit::Time;

/// Packets that left within this time are one group.
const GROUP_US: i64 = 5_000;
/// A group that waited behind something arrives in one piece: packets this close to each other belong to it, …
const BURST_GAP_US: i64 = 5_000;
/// … as long as it isn't longer than this.
const BURST_US: i64 = 100_000;
/// Receiver's and sender's times that disagree by more are another clock, or a lie.
const DISAGREEMENT_US: i64 = 3_000_000;
/// After so many groups that arrived before their predecessor, everything begins anew.
const BACKWARDS_MAX: u8 = 3;

/// How one group came, compared with the group before. Times in milliseconds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct GroupDelta {
    pub sent_ms: f64,
    pub arrived_ms: f64,
    /// When the later group's last packet arrived.
    pub at: RemoteTime,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    first_arrival: RemoteTime,
    last_arrival: RemoteTime,
}

#[derive(Default, Debug)]
pub struct InterArrival {
    previous: Option<Group>,
    current: Option<Group>,
    backwards: u8,
}

impl InterArrival {
    /// Takes a packet that arrived, in the order of sending. Returns a delta when it begins a new group and two are
    /// complete.
    pub fn push(&mut self, sent: Time, arrival: RemoteTime) -> Option<GroupDelta> {
        let sent = (sent.0 / 1_000) as i64;
        let new = Group { first_sent: sent, last_sent: sent, first_arrival: arrival, last_arrival: arrival };
        let Some(group) = &mut self.current else {
            self.current = Some(new);
            return None;
        };
        if sent < group.first_sent {
            return None;
        }
        if group.takes(sent, arrival) {
            group.last_sent = group.last_sent.max(sent);
            group.last_arrival = group.last_arrival.max(arrival);
            return None;
        }
        let complete = *group;
        let delta = self.previous.and_then(|previous| self.compare(&previous, &complete));
        self.previous = Some(complete);
        self.current = Some(new);
        delta
    }

    pub fn reset(&mut self) {
        *self = InterArrival::default();
    }

    fn compare(&mut self, previous: &Group, complete: &Group) -> Option<GroupDelta> {
        let sent_us = complete.last_sent - previous.last_sent;
        let arrived_us = complete.last_arrival.micros_since(previous.last_arrival);
        if arrived_us.saturating_sub(sent_us).saturating_abs() > DISAGREEMENT_US {
            self.reset();
            return None;
        }
        if arrived_us < 0 {
            self.backwards += 1;
            if self.backwards >= BACKWARDS_MAX {
                self.reset();
            }
            return None;
        }
        self.backwards = 0;
        Some(GroupDelta {
            sent_ms: sent_us as f64 / 1e3,
            arrived_ms: arrived_us as f64 / 1e3,
            at: complete.last_arrival,
        })
    }
}

impl Group {
    /// Whether a packet belongs to this group: it left with it, or it came right behind it although it left later.
    fn takes(&self, sent: i64, arrival: RemoteTime) -> bool {
        let sent_us = sent - self.last_sent;
        let arrived_us = arrival.micros_since(self.last_arrival);
        let bunched = arrived_us < sent_us
            && arrived_us <= BURST_GAP_US
            && arrival.micros_since(self.first_arrival) < BURST_US;
        sent - self.first_sent <= GROUP_US || bunched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(groups: &mut InterArrival, sent_ms: u64, arrived_ms: i64) -> Option<(f64, f64)> {
        let delta = groups.push(Time::from_millis(sent_ms), RemoteTime(arrived_ms * 1_000))?;
        Some((delta.sent_ms, delta.arrived_ms))
    }

    #[test]
    fn a_growing_queue_shows_between_groups_and_not_within_them() {
        let mut groups = InterArrival::default();
        let sent = [0, 1, 2, 20, 21, 22, 40, 41, 60];
        let arrived = [100, 103, 106, 125, 128, 131, 150, 153, 175];
        let deltas: Vec<_> = sent.iter().zip(arrived).filter_map(|(s, a)| push(&mut groups, *s, a)).collect();
        assert_eq!(deltas, [(20.0, 25.0), (19.0, 22.0)]);
    }

    #[test]
    fn what_was_held_back_together_is_one_group() {
        let mut groups = InterArrival::default();
        // 20 ms apart at the sender, 1 ms at the receiver: something stood in their way.
        for (sent, arrived) in [(0, 100), (20, 120), (40, 180), (60, 181), (80, 182)] {
            assert!(
                push(&mut groups, sent, arrived)
                    .is_none_or(|(sent, arrived)| sent == 20.0 && arrived == 20.0)
            );
        }
        assert_eq!(push(&mut groups, 100, 200), Some((60.0, 62.0)));
    }

    #[test]
    fn clocks_that_leap_or_run_backwards_begin_anew() {
        let mut groups = InterArrival::default();
        for n in 0..10 {
            push(&mut groups, n * 20, n as i64 * 20);
        }
        assert_eq!(push(&mut groups, 200, 10_000_000), Some((20.0, 20.0)));
        assert_eq!(push(&mut groups, 220, 10_000_020), None, "another clock");
        assert_eq!(push(&mut groups, 240, 10_000_040), Some((20.0, 20.0)));
        for n in 0..20 {
            assert_eq!(push(&mut groups, 260 + n * 20, -1_000_000 * n as i64), None);
        }
    }
}
