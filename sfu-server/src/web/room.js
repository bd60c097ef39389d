// What the server has told about the room: participants, their tracks, the slots that carry them, who speaks, which
// layer each slot forwards. Plain state, changed only by `apply`; it knows nothing of sockets, media or pages.

export class Room {
  self = null; // {id, identity, name}
  participants = new Map(); // id → {id, identity, name, state, tracks: Map(id → track)}
  slots = []; // [{mid, kind, track}]
  speakers = [];
  layers = new Map(); // mid → {track, layer, reason}
  unsupported = new Set(); // ids of tracks in a codec that this browser lacks

  /// Takes one message of the server. Returns whether it was one of this module's concern.
  apply(message) {
    const apply = APPLY[message.type];
    if (!apply) return false;
    apply(this, message);
    return true;
  }

  /// The slot that shows a track now, or undefined.
  slotOf(trackId) {
    return this.slots.find((slot) => slot.track === trackId);
  }

  layerOf(trackId) {
    if (this.unsupported.has(trackId)) return { track: trackId, layer: null, reason: 'unsupported' };
    const slot = this.slotOf(trackId);
    const known = slot && this.layers.get(slot.mid);
    return known?.track === trackId ? known : undefined;
  }

  /// The participant's track of a source, or undefined.
  trackOf(participantId, source) {
    const tracks = this.participants.get(participantId)?.tracks;
    return tracks && [...tracks.values()].find((track) => track.source === source);
  }
}

function participantFrom(wire) {
  const tracks = new Map((wire.tracks ?? []).map((track) => [track.id, { ...track }]));
  return { ...wire, name: wire.name || wire.identity || 'Guest', state: wire.state ?? 'connected', tracks };
}

function snapshot(room, message) {
  room.self = { id: message.participant, identity: message.identity, name: message.name };
  room.participants = new Map(message.participants.map((wire) => [wire.id, participantFrom(wire)]));
  room.slots = message.slots ?? [];
  room.speakers = [];
  if (!message.resumed && message.type === 'joined') room.layers.clear();
  // Told again after the snapshot, as far as it still holds.
  room.unsupported.clear();
}

const APPLY = {
  joined: snapshot,
  resync: snapshot,
  participant_joined(room, { participant }) {
    room.participants.set(participant.id, participantFrom(participant));
  },
  participant_left(room, { participant }) {
    room.participants.delete(participant);
    room.speakers = room.speakers.filter((id) => id !== participant);
  },
  participant_state(room, { participant, state }) {
    const known = room.participants.get(participant);
    if (known) known.state = state;
  },
  track_published(room, { participant, track }) {
    room.participants.get(participant)?.tracks.set(track.id, { ...track });
  },
  track_unpublished(room, { participant, track }) {
    room.participants.get(participant)?.tracks.delete(track);
  },
  track_muted(room, { participant, track, muted }) {
    const known = room.participants.get(participant)?.tracks.get(track);
    if (known) known.muted = muted;
  },
  slots(room, { slots }) {
    room.slots = slots;
  },
  offer(room, { slots }) {
    if (slots) room.slots = slots;
  },
  layer(room, { mid, track, layer, reason }) {
    room.layers.set(mid, { track, layer, reason });
    if (layer !== null) room.unsupported.delete(track);
  },
  codec_unsupported(room, { track }) {
    room.unsupported.add(track);
  },
  speakers(room, { participants }) {
    room.speakers = participants;
  },
};
