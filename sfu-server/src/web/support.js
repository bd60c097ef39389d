// `window.sfu`: a read-only view for tests and for whoever looks into a page that misbehaves. It changes nothing.

/// Of a call:
/// `sfu.state`         "idle" | "joining" | "joined" | "reconnecting" | "ended"
/// `sfu.room`, `sfu.self`   room name; {id, identity, name}
/// `sfu.participants`  [{id, identity, name, state, tracks: [{id, kind, source, muted}]}]
/// `sfu.tiles`         [{key, local, screen, trackId, audioId, video (element), visible, layer}]
/// `sfu.published`     {microphone: track id, …} of one's own
/// `sfu.pc`            the RTCPeerConnection
/// `sfu.timings`       {join, joined, connected, firstFrames: {track id: ms}} on performance.now()'s clock
/// `sfu.chat`          {open, unread, messages: [{from, name, text, own, failed}]}
/// `sfu.log`           messages and state changes in order: [{at, type, …}], `sent: true` for own ones
/// `sfu.stats()`       {inbound, outbound} of the last second, by mid
export function exposeForTests({ session, call, chat, local }) {
  const view = {
    get state() {
      return session()?.state ?? 'idle';
    },
    get self() {
      return session()?.room.self ?? null;
    },
    get participants() {
      const known = session()?.room.participants.values() ?? [];
      return [...known].map((person) => ({ ...person, tracks: [...person.tracks.values()] }));
    },
    get tiles() {
      const room = session()?.room;
      const tiles = call()?.tiles.values() ?? [];
      return [...tiles].map(({ key, local, screen, trackId, audioId, video, visible }) => {
        const layer = room?.layerOf(trackId)?.layer ?? null;
        return { key, local, screen, trackId, audioId, video, visible, layer };
      });
    },
    get published() {
      const sources = ['microphone', 'camera', 'screen', 'screen_audio'];
      const pairs = sources.map((source) => [source, session()?.publishedId(source)]);
      return Object.fromEntries(pairs.filter(([, id]) => id));
    },
    get pc() {
      return session()?.peer?.pc ?? null;
    },
    get timings() {
      return { ...session()?.timings, firstFrames: Object.fromEntries(call()?.firstFrames ?? []) };
    },
    get chat() {
      const { isOpen: open, unread, messages } = chat() ?? { isOpen: false, unread: 0, messages: [] };
      const plain = messages.map(({ from, name, text, own, failed }) => ({ from, name, text, own, failed }));
      return { open, unread, messages: plain };
    },
    get log() {
      return session()?.log.map((entry) => ({ ...entry })) ?? [];
    },
    get local() {
      const { microphone, camera } = local;
      return { microphone: microphone.on, camera: camera.on };
    },
    stats() {
      const { inbound, outbound } = call()?.stats ?? { inbound: [], outbound: [] };
      return { inbound: Object.fromEntries(inbound), outbound: Object.fromEntries(outbound) };
    },
  };
  Object.defineProperty(window, 'sfu', { value: Object.freeze(view) });
}

/// Of a broadcast, or of somebody who watches one: `state`, `problem`, `pc`, `log` as of StreamClient, `stats()` as above,
/// and `tiles` with the one picture. `view`: {client, video, stats}.
export function exposeStream(view) {
  const stream = {
    get state() {
      return view.client?.state ?? 'idle';
    },
    get problem() {
      return view.client?.problem ?? null;
    },
    get pc() {
      return view.client?.pc ?? null;
    },
    get log() {
      return view.client?.log.map((entry) => ({ ...entry })) ?? [];
    },
    get tiles() {
      const { video } = view;
      const track = video.srcObject?.getVideoTracks()[0];
      return [{ key: 'picture', local: video.hasAttribute('aria-hidden'), trackId: track?.id, video, visible: !document.hidden, layer: null }];
    },
    stats() {
      const { inbound, outbound } = view.stats;
      return { inbound: Object.fromEntries(inbound), outbound: Object.fromEntries(outbound) };
    },
  };
  Object.defineProperty(window, 'sfu', { value: Object.freeze(stream) });
}
