//! The pages and their parts, embedded in the binary. Knows files and caching, nothing of what the pages do.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};

/// One embedded file.
struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
    etag: String,
}

/// Embeds files of `web/` by name.
macro_rules! embed {
    ($($name:literal),+ $(,)?) => {
        [$(($name, include_bytes!(concat!("../web/", $name)).as_slice())),+]
    };
}

/// Every file of `web/`; a test compares it with the directory.
static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = embed![
        "base.css",
        "broadcast.html",
        "broadcast.js",
        "call.js",
        "chat.js",
        "conference.css",
        "conference.html",
        "conference.js",
        "data.js",
        "devices.js",
        "encodings.js",
        "events.js",
        "icon.svg",
        "icons.svg",
        "identity.js",
        "layers.js",
        "layout.js",
        "links.js",
        "lobby.js",
        "local.js",
        "mix.js",
        "notices.js",
        "overlay.js",
        "peer.js",
        "picker.js",
        "quality.js",
        "resource.js",
        "room.js",
        "session.js",
        "signal.js",
        "sound.js",
        "start.css",
        "start.html",
        "start.js",
        "stats.js",
        "stream.css",
        "stream.js",
        "support.js",
        "tile.js",
        "watch.html",
        "watch.js",
        "whep.js",
        "whip.js",
    ];
    let asset = |(name, bytes)| Asset { name, content_type: content_type(name), bytes, etag: etag(bytes) };
    files.into_iter().map(asset).collect()
});

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "application/octet-stream",
    }
}

/// A strong validator: equal exactly for equal contents, the same in every run of this binary.
fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// The start page. A room in its address means that room's call, as it did when the call was at the root.
pub async fn start(uri: Uri, headers: HeaderMap) -> Response {
    let names_room = |query: &&str| query.split('&').any(|pair| pair.starts_with("room="));
    match uri.query().filter(names_room) {
        Some(query) => Redirect::temporary(&format!("/conference?{query}")).into_response(),
        None => serve("start.html", &headers),
    }
}

/// The conference page; the script in it reads the room from the address, as those of the next two do.
pub async fn conference(headers: HeaderMap) -> Response {
    serve("conference.html", &headers)
}

pub async fn broadcast(headers: HeaderMap) -> Response {
    serve("broadcast.html", &headers)
}

pub async fn watch(headers: HeaderMap) -> Response {
    serve("watch.html", &headers)
}

/// A part of a page.
pub async fn asset(Path(name): Path<String>, uri: Uri, headers: HeaderMap) -> Response {
    // Pages have addresses of their own.
    if name.ends_with(".html") {
        tracing::debug!(%uri, "no such asset");
        return StatusCode::NOT_FOUND.into_response();
    }
    serve(&name, &headers)
}

fn serve(name: &str, request: &HeaderMap) -> Response {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let Ok(etag) = HeaderValue::from_str(&asset.etag) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    // Files keep their names over versions, so browsers ask each time whether theirs is still right.
    let headers = [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
    ];
    let known = request.get_all(header::IF_NONE_MATCH).iter().any(|value| matches(value, &asset.etag));
    if known {
        (StatusCode::NOT_MODIFIED, headers).into_response()
    } else {
        (headers, asset.bytes).into_response()
    }
}

/// Weak comparison, as If-None-Match asks for (RFC 9110 §13.1.2).
fn matches(value: &HeaderValue, etag: &str) -> bool {
    let Ok(list) = value.to_str() else { return false };
    list.split(',').map(str::trim).any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_pages_is_embedded_with_its_type() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web");
        let mut files: Vec<String> = std::fs::read_dir(directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let mut embedded: Vec<&str> = ASSETS.iter().map(|asset| asset.name).collect();
        embedded.sort_unstable();
        assert_eq!(embedded, files);
        for asset in ASSETS.iter() {
            assert_ne!(asset.content_type, "application/octet-stream", "{}", asset.name);
        }
    }

    #[test]
    fn browsers_run_modules_only_with_their_type() {
        assert_eq!(content_type("conference.js"), "text/javascript; charset=utf-8");
        assert_eq!(content_type("base.css"), "text/css; charset=utf-8");
    }

    #[test]
    fn a_validator_is_compared_weakly_and_in_lists() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
            ("a", false),
        ] {
            assert_eq!(matches(&HeaderValue::from_static(value), "\"a\""), expected, "{value}");
        }
    }
}
