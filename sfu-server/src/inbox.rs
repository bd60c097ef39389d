//! The bounded queue from the control plane into a worker, with its wake-up. Plain values only; knows nothing of what
//! they mean.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};

use sfu_core::command::Command;

use crate::net::Waker;

/// Messages that may wait in a worker's queue. A worker drains it every time around its loop.
const INBOX_MESSAGES: usize = 4_096;

/// Messages that may wait on the sender's side when the queue is full. A worker that is this far behind is stuck, and a
/// lost command would leave it in a state that nobody knows.
const BACKLOG_MESSAGES_MAX: usize = 262_144;

/// What a worker is told.
#[derive(Clone, PartialEq, Debug)]
pub enum WorkerMessage {
    Command(Box<Command>),
    /// End the thread, after everything before this and what that makes to be sent.
    Stop,
}

/// The worker's end.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<WorkerMessage>,
}

impl Inbox {
    /// The next message. A control plane that is gone means [`WorkerMessage::Stop`].
    pub fn next(&self) -> Option<WorkerMessage> {
        match self.receiver.try_recv() {
            Ok(message) => Some(message),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(WorkerMessage::Stop),
        }
    }
}

/// The control plane's end. It never blocks: what doesn't fit waits here, in order.
#[derive(Debug)]
pub struct InboxSender {
    sender: SyncSender<WorkerMessage>,
    backlog: VecDeque<WorkerMessage>,
    waker: Waker,
}

/// The worker has not taken anything for so long that its messages no longer fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WorkerStuck;

pub fn inbox(waker: Waker) -> (InboxSender, Inbox) {
    let (sender, receiver) = sync_channel(INBOX_MESSAGES);
    (InboxSender { sender, backlog: VecDeque::new(), waker }, Inbox { receiver })
}

impl InboxSender {
    /// Queues a message; [`InboxSender::flush`] lets the worker see it.
    pub fn push(&mut self, message: WorkerMessage) -> Result<(), WorkerStuck> {
        if self.backlog.len() >= BACKLOG_MESSAGES_MAX {
            return Err(WorkerStuck);
        }
        self.backlog.push_back(message);
        Ok(())
    }

    /// Moves what fits into the worker's queue and wakes it. Returns true when something still waits: call again soon.
    pub fn flush(&mut self) -> bool {
        let mut moved = false;
        while let Some(message) = self.backlog.pop_front() {
            match self.sender.try_send(message) {
                Ok(()) => moved = true,
                Err(TrySendError::Full(message)) => {
                    self.backlog.push_front(message);
                    break;
                }
                // The worker has ended; nothing can reach it any more.
                Err(TrySendError::Disconnected(_)) => self.backlog.clear(),
            }
        }
        if moved {
            self.waker.wake();
        }
        !self.backlog.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use sfu_core::unit::TransportId;

    use super::*;
    use crate::net::{IoMode, MediaSocket, bind};

    fn close(id: u64) -> WorkerMessage {
        WorkerMessage::Command(Box::new(Command::CloseTransport { transport: TransportId(id) }))
    }

    fn pair() -> (InboxSender, Inbox) {
        let bound = bind("127.0.0.1:0".parse().unwrap(), 65_536).unwrap();
        inbox(MediaSocket::new(bound, IoMode::Auto).unwrap().waker().unwrap())
    }

    #[test]
    fn a_slow_worker_gets_everything_in_order() {
        let (mut sender, inbox) = pair();
        let count = INBOX_MESSAGES as u64 + 100;
        (0..count).for_each(|id| sender.push(close(id)).unwrap());
        assert!(sender.flush());
        assert_eq!(inbox.next(), Some(close(0)));
        for id in 1..INBOX_MESSAGES as u64 {
            assert_eq!(inbox.next(), Some(close(id)));
        }
        assert_eq!(inbox.next(), None);
        assert!(!sender.flush());
        for id in INBOX_MESSAGES as u64..count {
            assert_eq!(inbox.next(), Some(close(id)));
        }
        assert_eq!(inbox.next(), None);
    }

    #[test]
    fn a_stuck_worker_is_noticed() {
        let (mut sender, _inbox) = pair();
        for _ in 0..BACKLOG_MESSAGES_MAX {
            sender.push(WorkerMessage::Stop).unwrap();
        }
        assert_eq!(sender.push(WorkerMessage::Stop), Err(WorkerStuck));
    }

    #[test]
    fn a_control_plane_that_is_gone_stops_the_worker() {
        let (sender, inbox) = pair();
        drop(sender);
        assert_eq!(inbox.next(), Some(WorkerMessage::Stop));
    }
}
