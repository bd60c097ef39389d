// Runs in every page of a browser test, before the page's own scripts: paints and reads the pictures of marker.rs, and
// measures what arrives. `probe` is what the tests talk to; it changes nothing in the page.
(() => {
  const COLUMNS = 8;
  const ROWS = 4;
  const CORNERS = new Map([[0, 1], [7, 0], [24, 1], [31, 1]]);
  const canvas = new OffscreenCanvas(COLUMNS * 8, ROWS * 8);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const gaps = new Map(); // tile key → {last, worst, frames}

  function crc8(content) {
    let crc = 0;
    for (let bit = 19; bit >= 0; bit -= 1) {
      const feedback = (crc >> 7) ^ ((content >> bit) & 1);
      crc = ((crc << 1) & 0xff) ^ (feedback ? 0x07 : 0);
    }
    return crc;
  }

  function paint(target, id, counter) {
    const draw = target.getContext('2d');
    const content = (id << 14) | (counter & 0x3fff);
    const bits = content * 256 + crc8(content);
    let next = 27;
    for (let cell = 0; cell < COLUMNS * ROWS; cell += 1) {
      const white = CORNERS.has(cell) ? CORNERS.get(cell) : Math.floor(bits / 2 ** next--) % 2;
      draw.fillStyle = white ? '#dcdcdc' : '#202020';
      const x = Math.floor(((cell % COLUMNS) * target.width) / COLUMNS);
      const y = Math.floor((Math.floor(cell / COLUMNS) * target.height) / ROWS);
      draw.fillRect(x, y, Math.ceil(target.width / COLUMNS), Math.ceil(target.height / ROWS));
    }
  }

  // {id, counter}, or null when the picture is no marker.
  function read(video) {
    if (!video.videoWidth) return null;
    context.drawImage(video, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    let bits = 0;
    for (let cell = 0; cell < COLUMNS * ROWS; cell += 1) {
      const x = (cell % COLUMNS) * 8 + 4;
      const y = Math.floor(cell / COLUMNS) * 8 + 4;
      const white = data[(y * canvas.width + x) * 4 + 1] > 126 ? 1 : 0;
      if (!CORNERS.has(cell)) bits = bits * 2 + white;
      else if (CORNERS.get(cell) !== white) return null;
    }
    const content = Math.floor(bits / 256);
    if (crc8(content) !== bits % 256) return null;
    return { id: content >> 14, counter: content & 0x3fff };
  }

  // The camera becomes a painted marker: pages of one browser share its capture file, but not this.
  function fakeCamera(id, width, height, fps) {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      if (!constraints.video) return real(plainSound(constraints));
      return markerStream(id, width, height, fps);
    };
  }

  // A beep needs no echo cancellation, and many pages' worth of it is a core's work.
  function plainSound(constraints) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return { ...constraints, audio };
  }

  function fakeScreen(id, width, height, fps) {
    navigator.mediaDevices.getDisplayMedia = async () => markerStream(id, width, height, fps);
  }

  function markerStream(id, width, height, fps) {
    const picture = Object.assign(document.createElement('canvas'), { width, height });
    let counter = 0;
    paint(picture, id, counter);
    const stream = picture.captureStream(0);
    const [track] = stream.getVideoTracks();
    const timer = setInterval(() => {
      if (track.readyState === 'ended') return clearInterval(timer);
      counter += 1;
      paint(picture, id, counter);
      track.requestFrame();
    }, 1000 / fps);
    return stream;
  }

  function remoteTiles() {
    return window.sfu?.tiles.filter((tile) => !tile.local && tile.trackId) ?? [];
  }

  // Follows every picture from its first frame on; a gap counts when no frame was left out between two.
  function follow() {
    for (const { key, video } of remoteTiles()) {
      if (gaps.get(key)?.video === video) continue;
      const seen = { video, last: null, worst: 0, frames: 0 };
      gaps.set(key, seen);
      const onFrame = (now, frame) => {
        const at = frame.receiveTime ?? now;
        if (seen.last && frame.presentedFrames === seen.last.presented + 1) {
          seen.worst = Math.max(seen.worst, at - seen.last.at);
        }
        seen.last = { at, presented: frame.presentedFrames };
        seen.frames += 1;
        video.requestVideoFrameCallback(onFrame);
      };
      video.requestVideoFrameCallback(onFrame);
    }
  }
  setInterval(follow, 100);

  async function counters() {
    const report = await window.sfu.pc.getStats();
    const received = new Map();
    let sent = 0;
    for (const stat of report.values()) {
      if (stat.type === 'inbound-rtp') received.set(stat.trackIdentifier, stat);
      if (stat.type === 'outbound-rtp') sent = Math.max(sent, stat.framesEncoded ?? 0);
    }
    return { at: performance.now(), received, sent };
  }

  // Everything the gates need, over `ms`: per remote picture and per sound.
  async function quality(ms) {
    for (const seen of gaps.values()) seen.worst = 0;
    const before = await counters();
    const readings = new Map();
    const until = performance.now() + ms;
    while (performance.now() < until) {
      for (const { key, video } of remoteTiles()) {
        readings.set(key, [...(readings.get(key) ?? []), read(video)]);
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(250, ms / 8)));
    }
    const after = await counters();
    const seconds = (after.at - before.at) / 1000;
    const video = remoteTiles().map(({ key, trackId, video: element, layer }) => {
      const track = element.srcObject?.getVideoTracks()[0]?.id;
      const [old, now] = [before.received.get(track), after.received.get(track)];
      const marks = readings.get(key) ?? [];
      const delta = (field) => (now?.[field] ?? 0) - (old?.[field] ?? 0);
      return {
        key,
        track: trackId,
        fps: delta('framesDecoded') / seconds,
        freezes: delta('freezeCount'),
        frozen: delta('totalFreezesDuration'),
        ids: [...new Set(marks.filter(Boolean).map((mark) => mark.id))],
        readable: marks.filter(Boolean).length,
        readings: marks.length,
        counters: [...new Set(marks.filter(Boolean).map((mark) => mark.counter))].length,
        width: element.videoWidth,
        height: element.videoHeight,
        layer,
        worstGapMs: gaps.get(key)?.worst ?? 0,
      };
    });
    const audio = [];
    for (const [track, now] of after.received) {
      if (now.kind !== 'audio') continue;
      const old = before.received.get(track);
      audio.push({
        samples: now.totalSamplesReceived - (old?.totalSamplesReceived ?? 0),
        concealed: now.concealedSamples - (old?.concealedSamples ?? 0),
        energy: now.totalAudioEnergy - (old?.totalAudioEnergy ?? 0),
      });
    }
    return { video, audio, sentFps: (after.sent - before.sent) / seconds };
  }

  // How many remote pictures show a readable marker of the expected set now.
  function seen(ids) {
    const shown = remoteTiles().map(({ video }) => read(video)?.id);
    return ids.every((id) => shown.includes(id));
  }

  function describe() {
    const { sfu } = window;
    if (!sfu) return `no call page at ${location.href}`;
    const tiles = sfu.tiles.map(({ key, trackId, layer, visible, video }) => {
      return `${key} track=${trackId} layer=${layer} visible=${visible} ${video.videoWidth}×${video.videoHeight} ${JSON.stringify(read(video))}`;
    });
    const log = sfu.log.slice(-25).map(({ at, type, sent, sdp, ...rest }) => {
      return `${Math.round(at)} ${sent ? '→' : '←'} ${type} ${JSON.stringify(rest).slice(0, 200)}`;
    });
    return [`state=${sfu.state} pc=${sfu.pc?.connectionState} ice=${sfu.pc?.iceConnectionState}`, ...tiles, ...log].join('\n');
  }

  window.probe = { other: () => remoteTiles()[0], read, seen, quality, describe, fakeCamera, fakeScreen };
})();
