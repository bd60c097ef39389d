//! The socket that a browser is driven through: numbered commands, as in the Chrome DevTools Protocol and in WebDriver
//! BiDi. It keeps what pages complained about (exceptions, console errors) for the message of a failing test, and knows
//! no page in particular.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_tungstenite::tungstenite::Message;

const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);
const COMPLAINTS_MAX: usize = 200;

type Reply = Result<Value, String>;
type Pending = Arc<Mutex<HashMap<u64, oneshot::Sender<Reply>>>>;
type Complaints = Arc<Mutex<VecDeque<(String, String)>>>;

/// A handle to a browser's socket; clones share it.
#[derive(Clone)]
pub struct Remote {
    commands: mpsc::UnboundedSender<Message>,
    pending: Pending,
    complaints: Complaints,
    next_id: Arc<AtomicU64>,
}

impl Remote {
    pub async fn connect(url: &str) -> Result<Self, String> {
        let config = tokio_tungstenite::tungstenite::protocol::WebSocketConfig::default()
            .max_message_size(Some(256 << 20))
            .max_frame_size(Some(256 << 20));
        let (socket, _) = tokio_tungstenite::connect_async_with_config(url, Some(config), true)
            .await
            .map_err(|error| format!("nothing to drive at {url}: {error}"))?;
        let (mut sink, mut stream) = socket.split();
        let (commands, mut outgoing) = mpsc::unbounded_channel();
        let remote = Self {
            commands,
            pending: Pending::default(),
            complaints: Complaints::default(),
            next_id: Arc::new(AtomicU64::new(1)),
        };
        tokio::spawn(async move {
            while let Some(message) = outgoing.recv().await {
                if sink.send(message).await.is_err() {
                    break;
                }
            }
        });
        let (pending, complaints) = (remote.pending.clone(), remote.complaints.clone());
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                if let Ok(text) = message.to_text()
                    && let Ok(value) = serde_json::from_str::<Value>(text)
                {
                    dispatch(value, &pending, &complaints);
                }
            }
            // The browser is gone: whoever waits learns it now.
            lock(&pending).clear();
        });
        Ok(remote)
    }

    /// Sends a command, to the browser itself or to a session (DevTools only), and waits for its result.
    pub async fn call(&self, session: Option<&str>, method: &str, params: Value) -> Reply {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        lock(&self.pending).insert(id, reply);
        let mut command = json!({ "id": id, "method": method, "params": params });
        if let Some(session) = session {
            command["sessionId"] = json!(session);
        }
        let message = Message::text(command.to_string());
        self.commands.send(message).map_err(|_| format!("{method}: the browser is gone"))?;
        match tokio::time::timeout(COMMAND_TIMEOUT, answer).await {
            Ok(Ok(result)) => result.map_err(|error| format!("{method}: {error}")),
            Ok(Err(_)) => Err(format!("{method}: the browser is gone")),
            Err(_) => Err(format!("{method}: no answer in {COMMAND_TIMEOUT:?}")),
        }
    }

    /// What a page (its session, its browsing context) has complained about so far.
    pub fn complaints(&self, page: &str) -> Vec<String> {
        lock(&self.complaints).iter().filter(|(of, _)| of == page).map(|(_, text)| text.clone()).collect()
    }
}

fn dispatch(message: Value, pending: &Pending, complaints: &Complaints) {
    if let Some(id) = message["id"].as_u64() {
        let Some(waiting) = lock(pending).remove(&id) else { return };
        let reply = match message.get("error") {
            // DevTools has an object here, BiDi a code beside the message.
            Some(error) => {
                let text = error["message"].as_str().or(message["message"].as_str());
                Err(text.unwrap_or("unknown error").to_owned())
            }
            None => Ok(message["result"].clone()),
        };
        let _ = waiting.send(reply);
        return;
    }
    if let Some((page, text)) = complaint(&message) {
        let mut complaints = lock(complaints);
        if complaints.len() == COMPLAINTS_MAX {
            complaints.pop_front();
        }
        complaints.push_back((page, text));
    }
}

/// The page and the text, if an event is a complaint.
fn complaint(message: &Value) -> Option<(String, String)> {
    let params = &message["params"];
    let text = match message["method"].as_str()? {
        "Runtime.exceptionThrown" => {
            let details = &params["exceptionDetails"];
            details["exception"]["description"].as_str().or(details["text"].as_str())?
        }
        "Log.entryAdded" if params["entry"]["level"] == "error" => params["entry"]["text"].as_str()?,
        "Inspector.targetCrashed" => "the page crashed",
        "log.entryAdded" if params["level"] == "error" => params["text"].as_str()?,
        _ => return None,
    };
    let page = message["sessionId"].as_str().or(params["source"]["context"].as_str())?;
    Some((page.to_owned(), text.to_owned()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
