//! A worker thread: one socket, one engine, one loop. It reads the clock, moves datagrams and messages in and out, and
//! sleeps until something is due. It knows nothing of rooms, sessions or HTTP.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use sfu_core::event::Event;
use sfu_core::unit::{Time, WorkerId};
use sfu_core::{Counters, SendBatch, Sfu};
use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::clock::Clock;
use crate::inbox::{Inbox, InboxSender, WorkerMessage, inbox};
use crate::net::{BoundSocket, IoCounters, IoMode, MediaSocket, SendRun, pin_to_core};

/// Receive batches before what came in is sent on: enough to form runs, too few to hold packets for a millisecond.
const RECEIVE_BATCHES: usize = 8;

/// Messages of the control plane applied before the socket's turn.
const MESSAGES_PER_TURN: usize = 256;

/// Longest sleep: a worker shows that it lives at least this often.
const SLEEP_MAX: Duration = Duration::from_millis(500);

/// Bytes and runs of one send batch: 64 runs fill a sendmmsg, and this is what the second-level cache still holds.
const SEND_BATCH_BYTES: usize = 512 * 1024;
const SEND_BATCH_RUNS: usize = 256;

/// Time between two copies of the counters for others to read.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(1);

/// Events that may wait in the worker while the control plane is behind.
const EVENT_BACKLOG_MAX: usize = 65_536;

/// From here on only events that decide about life and death are kept: the rest is display, soon outdated.
const EVENT_BACKLOG_ESSENTIAL: usize = EVENT_BACKLOG_MAX / 2;

/// Data messages that may wait, with all other events, on their way to the control plane: at most 64 MiB.
const DATA_WAITING_MAX: usize = 1_024;

/// What is known of a worker from outside, without asking it.
#[derive(Debug, Default)]
pub struct WorkerStatus {
    /// [`Time`] of the last turn of the loop, in nanoseconds.
    last_turn: AtomicU64,
    snapshot: Mutex<WorkerSnapshot>,
}

/// A copy of a worker's counters, at most [`SNAPSHOT_INTERVAL`] old.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct WorkerSnapshot {
    pub engine: Counters,
    pub io: IoCounters,
    /// Events for the control plane that were dropped because it was too far behind.
    pub events_dropped: u64,
}

impl WorkerStatus {
    /// When the loop last went round.
    pub fn last_turn(&self) -> Time {
        Time(self.last_turn.load(Ordering::Relaxed))
    }

    pub fn snapshot(&self) -> WorkerSnapshot {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a worker is made from.
#[derive(Debug)]
pub struct WorkerParts {
    pub id: WorkerId,
    pub clock: Clock,
    pub socket: BoundSocket,
    pub io: IoMode,
    /// The core to bind the thread to.
    pub core: Option<usize>,
    pub engine: Sfu,
    pub events: Sender<(WorkerId, Event)>,
}

/// A running worker, as the control plane holds it.
#[derive(Debug)]
pub struct WorkerHandle {
    pub id: WorkerId,
    pub inbox: InboxSender,
    pub status: Arc<WorkerStatus>,
    pub thread: JoinHandle<io::Result<()>>,
}

/// Starts the thread; returns once its socket is set up.
pub fn spawn(parts: WorkerParts) -> io::Result<WorkerHandle> {
    let WorkerParts { id, clock, socket, io, core, engine, events } = parts;
    let status = Arc::new(WorkerStatus::default());
    status.last_turn.store(clock.now().0, Ordering::Relaxed);
    let (ready_sender, ready) = std::sync::mpsc::sync_channel(1);
    let thread = std::thread::Builder::new().name(format!("worker-{id}")).spawn({
        let status = Arc::clone(&status);
        move || {
            if let Some(core) = core
                && let Err(error) = pin_to_core(core)
            {
                tracing::warn!(worker = id.0, core, %error, "cannot bind the worker to its core");
            }
            // The buffers of the socket are made here, so that their memory is near the core that uses them.
            let socket = MediaSocket::new(socket, io)?;
            let waker = socket.waker()?;
            let (sender, inbox) = inbox(waker);
            // The receiver only goes away when the server failed to start, and then this thread is told by its inbox.
            let _ = ready_sender.send(sender);
            Worker {
                id,
                clock,
                socket,
                engine,
                inbox,
                events: EventQueue::new(id, events),
                status,
                batch: SendBatch::new(SEND_BATCH_BYTES, SEND_BATCH_RUNS),
                next_snapshot: Time::ZERO,
                stopping: false,
            }
            .run()
        }
    })?;
    match ready.recv() {
        Ok(inbox) => Ok(WorkerHandle { id, inbox, status, thread }),
        Err(_) => match thread.join() {
            Ok(Err(error)) => Err(error),
            _ => Err(io::Error::other("the worker's thread ended while it started")),
        },
    }
}

struct Worker {
    id: WorkerId,
    clock: Clock,
    socket: MediaSocket,
    engine: Sfu,
    inbox: Inbox,
    events: EventQueue,
    status: Arc<WorkerStatus>,
    batch: SendBatch,
    next_snapshot: Time,
    stopping: bool,
}

impl Worker {
    fn run(mut self) -> io::Result<()> {
        while !self.stopping {
            let mut busy = self.take_messages();
            busy |= self.receive();
            let now = self.clock.now();
            if self.engine.next_timeout().is_some_and(|due| due <= now) {
                self.engine.handle_timeout(now);
            }
            self.send(now);
            self.report(now);
            if !busy && !self.stopping {
                self.sleep()?;
            }
        }
        Ok(())
    }

    /// Applies what the control plane sent; returns true when more waits.
    fn take_messages(&mut self) -> bool {
        let now = self.clock.now();
        for _ in 0..MESSAGES_PER_TURN {
            match self.inbox.next() {
                Some(WorkerMessage::Command(command)) => self.engine.command(now, *command),
                Some(WorkerMessage::Stop) => {
                    self.stopping = true;
                    return false;
                }
                None => return false,
            }
        }
        true
    }

    /// Drains the socket up to a bound; returns true when more waits.
    fn receive(&mut self) -> bool {
        for _ in 0..RECEIVE_BATCHES {
            let now = self.clock.now();
            let engine = &mut self.engine;
            match self.socket.receive(|path, datagram| engine.receive(now, path, datagram)) {
                Ok(true) => {}
                Ok(false) => return false,
                Err(error) => {
                    // Errors of a UDP socket are about one datagram (ICMP) or pass (memory). The loop goes on; were one
                    // to last, the sleep below keeps it from spinning.
                    tracing::warn!(worker = self.id.0, %error, "receiving failed");
                    return false;
                }
            }
        }
        true
    }

    /// Sends all that the engine has released.
    fn send(&mut self, now: Time) {
        loop {
            let more = self.engine.release(now, &mut self.batch);
            if !self.batch.is_empty() {
                let batch = &self.batch;
                let runs = batch.runs().iter().map(|run| SendRun {
                    path: run.path,
                    bytes: batch.bytes(run),
                    segment: run.segment,
                });
                self.socket.send(&self.clock, runs);
                self.batch.clear();
            }
            if !more {
                return;
            }
        }
    }

    /// Passes on events, and from time to time the counters.
    fn report(&mut self, now: Time) {
        while let Some(event) = self.engine.poll_event() {
            self.events.push(event);
        }
        self.events.flush();
        self.status.last_turn.store(now.0, Ordering::Relaxed);
        if now >= self.next_snapshot || self.stopping {
            self.next_snapshot = now + SNAPSHOT_INTERVAL;
            let snapshot = WorkerSnapshot {
                engine: *self.engine.counters(),
                io: *self.socket.counters(),
                events_dropped: self.events.dropped,
            };
            tracing::trace!(worker = self.id.0, ?snapshot, "counters");
            *self.status.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
        }
    }

    fn sleep(&mut self) -> io::Result<()> {
        let now = self.clock.now();
        let until_due = self.engine.next_timeout().map_or(SLEEP_MAX, |due| due.since(now));
        let longest = if self.events.is_waiting() { EventQueue::RETRY } else { SLEEP_MAX };
        self.socket.wait(until_due.min(longest))
    }
}

/// Events on their way to the control plane. A worker never waits for it: what doesn't fit into the channel is kept here,
/// and when there is too much of it, events that only change a display are dropped before those that end a session.
#[derive(Debug)]
struct EventQueue {
    id: WorkerId,
    sender: Sender<(WorkerId, Event)>,
    backlog: VecDeque<Event>,
    dropped: u64,
}

impl EventQueue {
    /// How soon a full channel is tried again.
    const RETRY: Duration = Duration::from_millis(5);

    fn new(id: WorkerId, sender: Sender<(WorkerId, Event)>) -> EventQueue {
        EventQueue { id, sender, backlog: VecDeque::new(), dropped: 0 }
    }

    fn push(&mut self, event: Event) {
        let (waiting, max) = match &event {
            Event::DataReceived { .. } => (self.waiting(), DATA_WAITING_MAX),
            event if is_essential(event) => (self.backlog.len(), EVENT_BACKLOG_MAX),
            _ => (self.backlog.len(), EVENT_BACKLOG_ESSENTIAL),
        };
        if waiting < max {
            self.backlog.push_back(event);
        } else {
            self.dropped += 1;
        }
    }

    /// Events here and in the channel, those of other workers included.
    fn waiting(&self) -> usize {
        let in_channel = self.sender.max_capacity().saturating_sub(self.sender.capacity());
        self.backlog.len().saturating_add(in_channel)
    }

    fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send((self.id, event)) {
                Ok(()) => {}
                Err(TrySendError::Full((_, event))) => {
                    self.backlog.push_front(event);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }

    fn is_waiting(&self) -> bool {
        !self.backlog.is_empty()
    }
}

/// Whether the control plane's idea of who is there depends on the event.
fn is_essential(event: &Event) -> bool {
    match event {
        Event::TransportConnected { .. }
        | Event::TransportDisconnected { .. }
        | Event::TransportRecovered { .. }
        | Event::TransportClosed { .. }
        | Event::DataOpened { .. }
        | Event::DataClosed { .. } => true,
        Event::TrackLayers { .. }
        | Event::SlotLayer { .. }
        | Event::SlotUnsupported { .. }
        | Event::Speakers { .. }
        | Event::DataReceived { .. } => false,
    }
}

#[cfg(test)]
mod tests {
    use sfu_core::unit::{ChannelType, DataMessage, MessageKind, RoomId, TransportId};

    use super::*;

    /// Its messages are long, so they count wherever they wait.
    #[test]
    fn data_messages_for_a_slow_control_plane_are_bounded() {
        let (sender, _receiver) = tokio::sync::mpsc::channel(100);
        let mut queue = EventQueue::new(WorkerId(3), sender);
        let message = DataMessage {
            label: "chat".to_owned(),
            channel_type: ChannelType::RELIABLE,
            kind: MessageKind::Binary,
            payload: vec![0; 10].into(),
        };
        for _ in 0..2 * DATA_WAITING_MAX {
            queue.push(Event::DataReceived { transport: TransportId(1), message: message.clone() });
            queue.flush();
        }
        assert_eq!(queue.waiting(), DATA_WAITING_MAX);
        assert_eq!(queue.dropped as usize, DATA_WAITING_MAX);
    }

    #[test]
    fn a_slow_control_plane_loses_display_before_life_and_death() {
        let (sender, mut receiver) = tokio::sync::mpsc::channel(1);
        let mut queue = EventQueue::new(WorkerId(3), sender);
        let speakers = || Event::Speakers { room: RoomId(1), speakers: Vec::new() };
        let connected = |id| Event::TransportConnected { transport: TransportId(id) };
        for _ in 0..EVENT_BACKLOG_MAX {
            queue.push(speakers());
        }
        assert_eq!(queue.dropped as usize, EVENT_BACKLOG_MAX - EVENT_BACKLOG_ESSENTIAL);
        queue.push(connected(7));
        let mut last = None;
        while queue.is_waiting() {
            queue.flush();
            last = receiver.try_recv().ok();
        }
        assert_eq!(last, Some((WorkerId(3), connected(7))));
    }
}
