//! What the way of a packet allocates, once a broadcast runs: nothing. Timers write feedback, which may, but little.
//! Only Rust's allocator is watched, not the C part of the crypto library.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]
#![allow(unsafe_code, reason = "an allocator is unsafe by its trait")]

mod engine;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::time::Duration;

use sfu_core::command::{Codec, Command, PayloadType, SlotSpec, TrackSpec};
use sfu_core::transport::srtp::SrtpSender;
use sfu_core::unit::{ClockRate, ExtSeq, Kind, Pt, RtpTime, SlotId, Ssrc, Time, TrackId, TransportId};
use sfu_core::wire::rtp::{FIXED_LEN, OutgoingHeader};
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

/// Packet `seq` of redundant audio with a copy of the one before, sealed.
fn redundant_audio(sender: &SrtpSender, seq: u64) -> Vec<u8> {
    let header = OutgoingHeader {
        marker: false,
        pt: Pt(63),
        seq: ExtSeq(seq).wire(),
        time: RtpTime(seq as u32 * 960),
        ssrc: Ssrc(1),
        padded: false,
        extended: false,
    };
    let mut packet = vec![0; FIXED_LEN];
    header.write(&mut packet).unwrap();
    let [_, fields @ ..] = (960_u32 << 10 | 80).to_be_bytes();
    packet.push(0x80 | 111);
    packet.extend_from_slice(&fields);
    packet.push(111);
    packet.resize(packet.len() + 160 + sender.tag_len(), 0x55);
    sender.seal_rtp(Ssrc(1), ExtSeq(seq), FIXED_LEN, &mut packet).unwrap();
    packet
}

/// Every tenth packet is lost; half of the subscribers take RED, the others get what is inside, and what was lost.
#[test]
fn redundant_audio_is_remapped_unwrapped_and_recovered_without_allocation() {
    let format = |pt: u8, codec| PayloadType {
        pt: Pt(pt),
        codec,
        clock_rate: ClockRate::OPUS,
        rtx: None,
        nack: false,
        pli: false,
        transport_cc: true,
    };
    let (red, opus) = (format(63, Codec::Red), format(111, Codec::Opus));
    let mut sfu = engine();
    connect(&mut sfu, Time::ZERO, 1);
    let payload_types = vec![red.clone(), opus.clone()];
    let track = TrackSpec { kind: Kind::Audio, payload_types, ..camera(1) };
    sfu.command(Time::ZERO, Command::PublishTrack { transport: TransportId(1), track });
    for n in 2..2 + SUBSCRIBERS {
        connect(&mut sfu, Time::ZERO, n);
        let transport = TransportId(n);
        let payload_types = if n % 2 == 0 { vec![opus.clone()] } else { vec![red.clone(), opus.clone()] };
        let slot = SlotSpec { kind: Kind::Audio, rtx_ssrc: None, payload_types, ..slot(0) };
        sfu.command(Time::ZERO, Command::SetSlot { transport, slot });
        let source = Some(TrackId(1));
        sfu.command(Time::ZERO, Command::SetSlotSource { transport, slot: SlotId(0), source });
    }
    let (sender, mut batch) = (participants_sender(), SendBatch::new(1 << 20, 1_024));
    let (mut now, mut on_the_way) = (Time::ZERO, 0);
    let (warm_up, packets) = (200, 1_000);
    for seq in (1..=packets).filter(|seq| seq % 10 != 5) {
        let mut packet = redundant_audio(&sender, seq);
        now += Duration::from_millis(20);
        let allocated = allocations(|| {
            sfu.receive(now, path(1), &mut packet);
            release(&mut sfu, now, &mut batch);
        });
        while sfu.poll_event().is_some() {}
        on_the_way += if seq > warm_up { allocated } else { 0 };
    }
    assert_eq!(sfu.counters().red_recovered, packets / 10);
    let forwarded = packets * SUBSCRIBERS - packets / 10 * (SUBSCRIBERS / 2);
    assert_eq!(sfu.counters().rtp_forwarded, forwarded);
    assert_eq!(on_the_way, 0);
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
