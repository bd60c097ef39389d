//! How ids, kinds and layers look in JSON: `"p1"`, `"t7"`, `"video"`, `2`.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};
use sfu_core::unit::{Kind, LayerId, ParticipantId, TrackId};

pub fn participant<S: Serializer>(id: &ParticipantId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("p{id}"))
}

pub fn participants<S: Serializer>(ids: &[ParticipantId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(ids.iter().map(|id| format!("p{id}")))
}

pub fn track<S: Serializer>(id: &TrackId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("t{id}"))
}

pub fn option_track<S: Serializer>(id: &Option<TrackId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => track(id, serializer),
        None => serializer.serialize_none(),
    }
}

pub fn kind<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        Kind::Audio => "audio",
        Kind::Video => "video",
    })
}

pub fn layer<S: Serializer>(layer: &Option<LayerId>, serializer: S) -> Result<S::Ok, S::Error> {
    match layer {
        Some(layer) => serializer.serialize_u8(layer.0),
        None => serializer.serialize_none(),
    }
}

pub fn track_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<TrackId, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = text.strip_prefix('t').and_then(|number| number.parse().ok());
    number.map(TrackId).ok_or_else(|| D::Error::custom("a track id is t and a number"))
}

/// A list of ids that may be left out.
pub fn option_participants<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Vec<ParticipantId>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let ids = texts.iter().map(|text| {
        let number = text.strip_prefix('p').and_then(|number| number.parse().ok());
        number.map(ParticipantId).ok_or_else(|| D::Error::custom("a participant id is p and a number"))
    });
    ids.collect::<Result<_, _>>().map(Some)
}
