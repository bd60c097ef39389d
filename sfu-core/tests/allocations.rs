//! What the way of a packet allocates, once a broadcast runs: nothing. Timers write feedback, which may, but little.
//! Only Rust's allocator is watched, not the C part of the crypto library.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

mod engine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use sfu_core::command::Command;
use sfu_core::unit::{SlotId, Time, TrackId, TransportId};
use sfu_core::{SendBatch, Sfu};

use engine::{camera, connect, engine, participants_sender, path, release, slot, video};

/// Counts the allocations of the thread that asks for it, and passes on.
struct Counting;

thread_local! {
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    let _ = COUNT.try_with(|count| count.set(count.get().map(|count| count + 1)));
}

// SAFETY: every call is passed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
fn allocations(work: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    work();
    COUNT.take().unwrap()
}

const SUBSCRIBERS: u64 = 50;
const PAYLOAD: usize = 1_150;
/// 1,200 packets a second: 300 frames of four.
const FRAME: Duration = Duration::from_micros(3_333);

/// One camera that fifty watch.
fn broadcast() -> Sfu {
    let mut sfu = engine();
    connect(&mut sfu, Time::ZERO, 1);
    sfu.command(Time::ZERO, Command::PublishTrack { transport: TransportId(1), track: camera(1) });
    for n in 2..2 + SUBSCRIBERS {
        connect(&mut sfu, Time::ZERO, n);
        let transport = TransportId(n);
        sfu.command(Time::ZERO, Command::SetSlot { transport, slot: slot(0) });
        let source = Some(TrackId(1));
        sfu.command(Time::ZERO, Command::SetSlotSource { transport, slot: SlotId(0), source });
    }
    sfu
}

#[test]
fn a_forwarded_packet_allocates_nothing() {
    let (mut sfu, sender) = (broadcast(), participants_sender());
    let mut batch = SendBatch::new(1 << 20, 1_024);
    let (mut now, mut on_the_way, mut in_timers, mut events) = (Time::ZERO, 0, 0, 0);
    let (warm_up, frames) = (400, 2_000);
    let mut forwarded_before = 0;
    for frame in 0..frames {
        let mut packets: Vec<Vec<u8>> =
            (0..4).map(|part| video(&sender, 1, frame * 4 + part, PAYLOAD)).collect();
        now += FRAME;
        let path_allocations = allocations(|| {
            packets.iter_mut().for_each(|packet| sfu.receive(now, path(1), packet));
            release(&mut sfu, now, &mut batch);
        });
        let timer_allocations = allocations(|| {
            if sfu.next_timeout().is_some_and(|due| due <= now) {
                sfu.handle_timeout(now);
                release(&mut sfu, now, &mut batch);
            }
        });
        while sfu.poll_event().is_some() {
            events += 1;
        }
        if frame < warm_up {
            forwarded_before = sfu.counters().rtp_forwarded;
        } else {
            on_the_way += path_allocations;
            in_timers += timer_allocations;
        }
    }
    let forwarded = sfu.counters().rtp_forwarded - forwarded_before;
    assert_eq!(forwarded, (frames - warm_up) * 4 * SUBSCRIBERS);
    assert!(events > 0);
    assert_eq!(on_the_way, 0, "allocations for {forwarded} forwarded packets");
    assert!(in_timers > 0, "the counter counts");
    // Sender reports once a second for each subscriber, feedback twenty times a second for the publisher.
    let seconds = now.since(Time::ZERO).as_secs_f64();
    let per_second = in_timers as f64 / seconds;
    assert!(per_second < 20.0 * SUBSCRIBERS as f64, "{per_second} allocations a second in timers");
}
