//! The control plane's one task: it owns the rooms. Requests of WebSocket tasks, events of workers and timers go in one
//! at a time; commands to workers and messages to participants come out. It never blocks and never touches a packet.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use sfu_core::event::Event;
use sfu_core::unit::{Time, WorkerId};
use signaling::{ClientMessage, JoinError, JoinRequest, MessageError, Rooms, SessionId};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::inbox::WorkerMessage;
use crate::worker::WorkerHandle;

/// Requests of all WebSocket tasks that may wait; a task that finds the queue full waits for its turn.
pub const REQUESTS: usize = 1_024;

/// Events of all workers that may wait; workers keep what doesn't fit.
pub const EVENTS: usize = 8_192;

/// Messages on their way to one WebSocket. Small, because those that wait in the session's own queue can still be
/// replaced by a snapshot.
pub const OUTGOING_MESSAGES: usize = 32;

/// Requests or events handled before the results are passed on.
const BATCH: usize = 256;

/// How often a full queue is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// A WebSocket that takes nothing for this long is given up; its participant may resume.
const SLOW_READER_PATIENCE: Duration = Duration::from_secs(10);

/// How often the workers' threads are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// How long participants are given to take their `closed` at shutdown.
const FAREWELL: Duration = Duration::from_millis(700);

/// One WebSocket connection, never reused. A session may outlive its connection and be taken over by another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ConnectionId(pub u64);

type Ask = Box<dyn FnOnce(&mut Rooms, Time) + Send>;

/// A question to the rooms that is answered at once; it carries the way back.
pub struct Question(Ask);

impl Question {
    /// `ask` and where its answer will be.
    pub fn new<T: Send + 'static>(
        ask: impl FnOnce(&mut Rooms, Time) -> T + Send + 'static,
    ) -> (Question, oneshot::Receiver<T>) {
        let (reply, answer) = oneshot::channel();
        let ask = move |rooms: &mut Rooms, now: Time| {
            // Nobody waits any more when the HTTP connection is gone.
            let _ = reply.send(ask(rooms, now));
        };
        (Question(Box::new(ask)), answer)
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Question")
    }
}

/// What the tasks of HTTP ask.
#[derive(Debug)]
pub enum Request {
    /// Of WHIP and WHEP, which have no connection.
    Ask(Question),
    Join {
        connection: ConnectionId,
        join: JoinRequest,
        outgoing: mpsc::Sender<Outgoing>,
        reply: oneshot::Sender<Result<SessionId, JoinError>>,
    },
    Message {
        connection: ConnectionId,
        session: SessionId,
        message: Result<ClientMessage, MessageError>,
    },
    /// The connection is gone without a `leave`.
    Lost {
        connection: ConnectionId,
        session: SessionId,
    },
}

/// What a WebSocket task is told. A channel that closes without [`Outgoing::End`] was given up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outgoing {
    /// A text message, as JSON.
    Message(String),
    /// The session is over: no message follows.
    End,
}

/// The way to one participant.
struct Outlet {
    connection: ConnectionId,
    sender: mpsc::Sender<Outgoing>,
    /// Since when the channel has been full.
    blocked_since: Option<Time>,
}

/// How far a session's messages got.
enum Delivery {
    /// All are on their way, or the connection's task has ended and its `Lost` is.
    Done,
    /// All are on their way, and they were the last.
    Ended,
    /// The channel is full.
    Blocked,
    /// The channel has been full for too long.
    GivenUp,
}

impl Outlet {
    /// Moves messages to the connection while it takes them. What it doesn't take stays in the session's queue, which
    /// knows how to overflow.
    fn fill(&mut self, now: Time, session: SessionId, rooms: &mut Rooms) -> Delivery {
        loop {
            match self.sender.try_reserve() {
                Ok(permit) => {
                    self.blocked_since = None;
                    if let Some(message) = rooms.poll_message(session) {
                        permit.send(Outgoing::Message(message.to_json()));
                    } else if rooms.is_ended(session) {
                        permit.send(Outgoing::End);
                        return Delivery::Ended;
                    } else {
                        return Delivery::Done;
                    }
                }
                Err(TrySendError::Full(())) => {
                    let since = *self.blocked_since.get_or_insert(now);
                    return if now.since(since) < SLOW_READER_PATIENCE {
                        Delivery::Blocked
                    } else {
                        Delivery::GivenUp
                    };
                }
                Err(TrySendError::Closed(())) => return Delivery::Done,
            }
        }
    }
}

/// The task's state.
pub struct Control {
    clock: Clock,
    rooms: Rooms,
    workers: Vec<WorkerHandle>,
    requests: mpsc::Receiver<Request>,
    events: mpsc::Receiver<(WorkerId, Event)>,
    outlets: HashMap<SessionId, Outlet>,
    /// Sessions with messages that their channel had no room for.
    blocked: HashSet<SessionId>,
    /// Some worker's queue is full.
    workers_behind: bool,
    next_watch: Time,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Control").field("sessions", &self.outlets.len()).finish_non_exhaustive()
    }
}

impl Control {
    pub fn new(
        clock: Clock,
        rooms: Rooms,
        workers: Vec<WorkerHandle>,
        requests: mpsc::Receiver<Request>,
        events: mpsc::Receiver<(WorkerId, Event)>,
    ) -> Control {
        Control {
            clock,
            rooms,
            workers,
            requests,
            events,
            outlets: HashMap::new(),
            blocked: HashSet::new(),
            workers_behind: false,
            next_watch: Time::ZERO,
        }
    }

    /// Runs until `draining` becomes true, says goodbye, and ends the workers. An error means that a worker has failed
    /// and the process can only start anew.
    pub async fn run(mut self, mut draining: watch::Receiver<bool>) -> Result<()> {
        let mut requests = Vec::with_capacity(BATCH);
        let mut events = Vec::with_capacity(BATCH);
        loop {
            let due = self.clock.instant(self.next_due());
            tokio::select! {
                _ = draining.wait_for(|draining| *draining) => break,
                _ = self.events.recv_many(&mut events, BATCH) => {}
                _ = self.requests.recv_many(&mut requests, BATCH) => {}
                () = tokio::time::sleep_until(due.into()) => {}
            }
            let now = self.clock.now();
            for (worker, event) in events.drain(..) {
                tracing::debug!(?worker, ?event, "engine");
                self.rooms.core_event(now, worker, event);
            }
            for request in requests.drain(..) {
                self.request(now, request);
            }
            self.settle(now)?;
            self.watch_workers(now)?;
        }
        self.shut_down().await
    }

    fn request(&mut self, now: Time, request: Request) {
        match request {
            Request::Ask(Question(ask)) => ask(&mut self.rooms, now),
            Request::Join { connection, join, outgoing, reply } => {
                let result = self.rooms.join(now, join);
                if let Ok(session) = result {
                    // A session that is resumed gets a new outlet; dropping the old one ends its connection.
                    let outlet = Outlet { connection, sender: outgoing, blocked_since: None };
                    self.outlets.insert(session, outlet);
                    self.blocked.insert(session);
                }
                if let (Err(Ok(session)), true) = (reply.send(result), result.is_ok()) {
                    self.lost(now, connection, session);
                }
            }
            Request::Message { connection, session, message } => {
                if self.owns(connection, session) {
                    match message {
                        Ok(message) => self.rooms.receive(now, session, message),
                        Err(error) => self.rooms.receive_invalid(now, session, &error),
                    }
                }
            }
            Request::Lost { connection, session } => self.lost(now, connection, session),
        }
    }

    /// Whether the session still belongs to this connection.
    fn owns(&self, connection: ConnectionId, session: SessionId) -> bool {
        self.outlets.get(&session).is_some_and(|outlet| outlet.connection == connection)
    }

    fn lost(&mut self, now: Time, connection: ConnectionId, session: SessionId) {
        if self.owns(connection, session) {
            self.outlets.remove(&session);
            self.blocked.remove(&session);
            self.rooms.connection_lost(now, session);
        }
    }

    /// Lets timers run out and passes everything on that the rooms have to say.
    fn settle(&mut self, now: Time) -> Result<()> {
        if self.rooms.next_timeout().is_some_and(|due| due <= now) {
            self.rooms.handle_timeout(now);
        }
        while let Some((worker, command)) = self.rooms.poll_command() {
            let Some(handle) = self.workers.iter_mut().find(|handle| handle.id == worker) else {
                bail!("a command for worker {worker}, which does not exist");
            };
            tracing::trace!(worker = worker.0, ?command, "command");
            if handle.inbox.push(WorkerMessage::Command(Box::new(command))).is_err() {
                bail!("worker {worker} has stopped taking commands");
            }
        }
        self.workers_behind = false;
        for handle in &mut self.workers {
            self.workers_behind |= handle.inbox.flush();
        }
        let mut ready: Vec<SessionId> = self.blocked.drain().collect();
        while let Some(session) = self.rooms.poll_ready() {
            ready.push(session);
        }
        for session in ready {
            self.deliver(now, session);
        }
        Ok(())
    }

    /// Acts on how far the session's messages got.
    fn deliver(&mut self, now: Time, session: SessionId) {
        let Some(outlet) = self.outlets.get_mut(&session) else { return };
        let connection = outlet.connection;
        match outlet.fill(now, session, &mut self.rooms) {
            Delivery::Done => {}
            Delivery::Ended => {
                self.outlets.remove(&session);
            }
            Delivery::Blocked => {
                self.blocked.insert(session);
            }
            Delivery::GivenUp => {
                tracing::info!(?session, "gave up a connection that takes no messages");
                self.lost(now, connection, session);
            }
        }
    }

    fn next_due(&self) -> Time {
        let timer = self.rooms.next_timeout().unwrap_or(Time::MAX);
        let retry = if self.blocked.is_empty() && !self.workers_behind {
            Time::MAX
        } else {
            self.clock.now() + RETRY
        };
        timer.min(retry).min(self.next_watch)
    }

    /// A worker whose thread has ended takes its participants with it, and nothing can bring them back.
    fn watch_workers(&mut self, now: Time) -> Result<()> {
        if now < self.next_watch {
            return Ok(());
        }
        self.next_watch = now + WATCH_INTERVAL;
        match self.workers.iter().position(|handle| handle.thread.is_finished()) {
            None => Ok(()),
            Some(index) => {
                let handle = self.workers.swap_remove(index);
                match handle.thread.join() {
                    Ok(Err(error)) => bail!("worker {} has failed: {error}", handle.id),
                    _ => bail!("worker {} has panicked", handle.id),
                }
            }
        }
    }

    /// Tells everybody, then ends the workers, which close their DTLS associations on the way.
    async fn shut_down(mut self) -> Result<()> {
        let ends = self.clock.now() + FAREWELL;
        self.rooms.shutdown(self.clock.now());
        // Sockets that are joining right now learn it from their closed reply.
        self.requests.close();
        loop {
            let now = self.clock.now();
            self.settle(now)?;
            if now >= ends || (self.blocked.is_empty() && !self.workers_behind) {
                break;
            }
            tokio::time::sleep(RETRY).await;
        }
        for handle in &mut self.workers {
            // A worker that is stuck is left to the end of the process.
            let _ = handle.inbox.push(WorkerMessage::Stop);
            handle.inbox.flush();
        }
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for handle in workers {
                // Its errors no longer matter: the process ends.
                let _ = handle.thread.join();
            }
        });
        if tokio::time::timeout(FAREWELL, joined).await.is_err() {
            tracing::warn!("a worker did not stop in time");
        }
        Ok(())
    }
}

/// What the health checks and the page's socket need to know of the whole process.
#[derive(Debug)]
pub struct Health {
    pub clock: Clock,
    pub workers: Vec<Arc<crate::worker::WorkerStatus>>,
    pub draining: watch::Receiver<bool>,
}

impl Health {
    /// A worker that hasn't gone round its loop for this long is stuck.
    const TURN_AGE_MAX: Duration = Duration::from_secs(2);

    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }

    /// The workers that are stuck, by their place.
    pub fn stuck_workers(&self) -> Vec<usize> {
        let now = self.clock.now();
        let stuck =
            |status: &crate::worker::WorkerStatus| now.since(status.last_turn()) >= Health::TURN_AGE_MAX;
        self.workers.iter().enumerate().filter(|(_, status)| stuck(status)).map(|(index, _)| index).collect()
    }
}
