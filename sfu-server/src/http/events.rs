//! The extensions of WHEP in HTTP: `…/layer` selects a layer, `…/sse` opens a stream of server-sent events. Players that
//! read one are looked after once a second; the others cost nothing.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::MethodRouter;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use signaling::viewer::{LayerSelection, LayerState, ViewerEvent, ViewerState};
use signaling::{Protocol, ResourceError, ResourcePath};
use tokio::sync::OwnedSemaphorePermit;

use super::App;
use super::resource::{self, Refused};

/// Event streams that are read at a time, of all rooms; each costs a task and a question a second.
pub const READERS_MAX: usize = 10_000;

/// How old what a reader knows may be.
const INTERVAL: Duration = Duration::from_secs(1);

const JSON: &str = "application/json";

pub fn routes() -> Router<App> {
    let options = |methods| move || async move { resource::options(methods, ("accept-post", JSON)) };
    let layer = MethodRouter::new().post(select_layer).options(options("POST, OPTIONS"));
    let streams = MethodRouter::new().post(open).options(options("POST, OPTIONS"));
    let events = MethodRouter::new().get(read).delete(close).options(options("GET, DELETE, OPTIONS"));
    Router::new()
        .route("/whep/{room}/session/{id}/layer", layer)
        .route("/whep/{room}/session/{id}/sse", streams)
        .route("/whep/{room}/session/{id}/sse/{stream}", events)
}

/// `Link` headers that tell a player of the extensions of the session at `location`.
pub fn links(location: &str) -> impl Iterator<Item = HeaderValue> {
    let names: Vec<&str> = ViewerEvent::ALL.into_iter().map(ViewerEvent::name).collect();
    let core = "urn:ietf:params:whep:ext:core";
    let layer = format!("<{location}/layer>; rel=\"{core}:layer\"");
    let sse = format!("<{location}/sse>; rel=\"{core}:server-sent-events\"; events=\"{}\"", names.join(","));
    [layer, sse].into_iter().filter_map(|link| HeaderValue::from_str(&link).ok())
}

/// What a player may say of the layer that it wants.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Wish {
    media_id: Option<String>,
    rid: Option<String>,
    /// As older players call the rid.
    encoding_id: Option<String>,
    spatial_layer_id: Option<u8>,
    max_spatial_layer_id: Option<u8>,
    temporal_layer_id: Option<u8>,
    max_temporal_layer_id: Option<u8>,
    max_width: Option<u32>,
    max_height: Option<u32>,
}

impl Wish {
    fn selection(self) -> Result<LayerSelection, Refused> {
        let unprocessable = |detail| Refused::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        if self.max_width.or(self.max_height).is_some() {
            return Err(unprocessable("layers are chosen by rid, spatial and temporal layer"));
        }
        let section = match self.media_id.as_deref().map(str::parse) {
            Some(Err(_)) => return Err(unprocessable("mediaId is the index of an m-section")),
            Some(Ok(section)) => Some(section),
            None => None,
        };
        let spatial = self.spatial_layer_id.or(self.max_spatial_layer_id);
        let temporal = self.temporal_layer_id.or(self.max_temporal_layer_id);
        Ok(LayerSelection { section, rid: self.rid.or(self.encoding_id), spatial, temporal })
    }
}

/// A body of JSON; the default when it is empty.
async fn read_json<T: Default + for<'a> Deserialize<'a>>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refused> {
    let text = resource::read_body(body).await?;
    if text.is_empty() {
        return Ok(T::default());
    }
    if resource::media_type(headers) != JSON {
        return Err(resource::unsupported_media_type(&Method::POST, JSON));
    }
    serde_json::from_str(&text).map_err(|error| Refused::new(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn select_layer(
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let path = resource::authorised(Protocol::Whep, room, &id, &headers)?;
    let selection = read_json::<Wish>(&headers, body).await?.selection()?;
    resource::ask(&app, move |rooms, now| rooms.select_layer(now, &path, &selection)).await?;
    Ok(StatusCode::OK.into_response())
}

async fn open(
    State(app): State<App>,
    Path((room, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let location = format!("/whep/{}/session/{id}/sse/", resource::encode_segment(&room));
    let path = resource::authorised(Protocol::Whep, room, &id, &headers)?;
    let names: Option<Vec<String>> = read_json(&headers, body).await?;
    let stream =
        resource::ask(&app, move |rooms, now| rooms.open_events(now, &path, names.as_deref())).await?;
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("{location}{stream}"))]).into_response())
}

async fn close(
    State(app): State<App>,
    Path((room, id, stream)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let path = resource::authorised(Protocol::Whep, room, &id, &headers)?;
    let stream: u32 = stream.parse().map_err(|_| ResourceError::NotFound)?;
    resource::ask(&app, move |rooms, now| rooms.close_events(now, &path, stream)).await?;
    Ok(StatusCode::OK.into_response())
}

async fn read(
    State(app): State<App>,
    Path((room, id, stream)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let path = resource::authorised(Protocol::Whep, room, &id, &headers)?;
    let number: u32 = stream.parse().map_err(|_| ResourceError::NotFound)?;
    let permit = std::sync::Arc::clone(&app.shared.event_streams).try_acquire_owned();
    let permit =
        permit.map_err(|_| Refused::new(StatusCode::SERVICE_UNAVAILABLE, "too many event streams"))?;
    let mut reader = Reader {
        app,
        path,
        stream: number,
        known: ViewerState::default(),
        due: VecDeque::new(),
        _permit: permit,
    };
    if !reader.look().await {
        return Err(ResourceError::NotFound.into());
    }
    let events = stream::unfold(reader, |mut reader| async move {
        let event = reader.next().await?;
        Some((Ok::<Event, Infallible>(event), reader))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::default()).into_response())
}

/// One reader of an event stream.
struct Reader {
    app: App,
    path: ResourcePath,
    stream: u32,
    known: ViewerState,
    due: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event; `None` when stream, session or server have ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Some(event);
            }
            tokio::time::sleep(INTERVAL).await;
            if !self.look().await {
                return None;
            }
        }
    }

    /// Looks what has changed; whether there is something to look at.
    async fn look(&mut self) -> bool {
        let (path, stream) = (self.path.clone(), self.stream);
        let Some(Some(state)) = self.app.ask(move |rooms, _| rooms.viewer_state(&path, stream)).await else {
            return false;
        };
        let events = changes(&self.known, &state);
        let wanted = events.into_iter().filter(|(event, _)| state.events.contains(event));
        self.due
            .extend(wanted.map(|(event, data)| Event::default().event(event.name()).data(data.to_string())));
        self.known = state;
        true
    }
}

/// What tells a player how `before` became `now`. It begins with nothing, so it is told of no end without a beginning.
fn changes(before: &ViewerState, now: &ViewerState) -> Vec<(ViewerEvent, Value)> {
    let mut events = Vec::new();
    match (before.active, now.active) {
        (false, true) => events.push((ViewerEvent::Active, json!({}))),
        (true, false) => events.push((ViewerEvent::Inactive, json!({}))),
        _ => {}
    }
    if before.layers != now.layers {
        let sections = now
            .layers
            .iter()
            .map(|(section, layers)| (section.to_string(), layers.iter().map(layer).collect()));
        events.push((ViewerEvent::Layers, Value::Object(sections.collect())));
    }
    if before.viewers != now.viewers {
        events.push((ViewerEvent::ViewerCount, json!({ "viewercount": now.viewers })));
    }
    events
}

fn layer(state: &LayerState) -> Value {
    let mut layer = Map::new();
    layer.insert("spatialLayerId".into(), state.layer.0.into());
    layer.insert("active".into(), state.arriving.is_some().into());
    if let Some(rid) = state.rid {
        let rid = rid.0.as_str();
        layer.insert("rid".into(), rid.into());
        // As older players call it.
        layer.insert("encodingId".into(), rid.into());
    }
    if let Some(arriving) = state.arriving {
        layer.insert("temporalLayers".into(), arriving.temporal_count.into());
        if let Some((width, height)) = arriving.size {
            layer.insert("width".into(), width.into());
            layer.insert("height".into(), height.into());
        }
        if let Some(kbps) = arriving.kbps {
            layer.insert("targetBitrate".into(), (u64::from(kbps) * 1_000).into());
        }
    }
    Value::Object(layer)
}

#[cfg(test)]
mod tests {
    use sfu_core::event::ArrivingLayer;
    use sfu_core::unit::{LayerId, Rid};

    use super::*;

    #[test]
    fn a_reader_is_told_of_changes_only_and_first_of_a_beginning() {
        let nothing = ViewerState::default();
        let names = |before: &ViewerState, now: &ViewerState| -> Vec<&str> {
            changes(before, now).iter().map(|(event, _)| event.name()).collect()
        };
        assert!(names(&nothing, &nothing).is_empty());
        let (id, size) = (LayerId(1), Some((640, 360)));
        let arriving = ArrivingLayer { id, temporal_count: 2, kbps: Some(500), size };
        let layer = LayerState { rid: Rid::new(b"h"), layer: id, arriving: Some(arriving) };
        let live = ViewerState {
            active: true,
            layers: Some((1, vec![layer])),
            viewers: 3,
            ..ViewerState::default()
        };
        assert_eq!(names(&nothing, &live), ["active", "layers", "viewercount"]);
        assert!(names(&live, &live).is_empty());
        assert_eq!(names(&live, &nothing), ["inactive", "layers", "viewercount"]);
        assert_eq!(changes(&live, &nothing)[1].1, json!({}));
        let told = changes(&nothing, &live);
        assert_eq!(
            told[1].1,
            json!({"1": [{
                "rid": "h", "encodingId": "h", "spatialLayerId": 1, "active": true, "temporalLayers": 2,
                "width": 640, "height": 360, "targetBitrate": 500_000
            }]})
        );
    }

    #[test]
    fn wishes_that_can_t_be_met_are_refused() {
        let parse = |text: &str| serde_json::from_str::<Wish>(text).unwrap().selection();
        let selection = parse(r#"{"mediaId":"1","rid":"h"}"#).unwrap();
        assert_eq!((selection.section, selection.rid.as_deref()), (Some(1), Some("h")));
        assert_eq!(parse("{}").unwrap(), LayerSelection::default());
        assert_eq!(parse(r#"{"encodingId":"q"}"#).unwrap().rid.as_deref(), Some("q"));
        assert_eq!(parse(r#"{"temporalLayerId":0}"#).unwrap().temporal, Some(0));
        for text in [r#"{"mediaId":"video"}"#, r#"{"maxHeight":360}"#] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
