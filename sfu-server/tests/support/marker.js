// Runs in every page of a browser test, before the page's own scripts: paints and reads the pictures of marker.rs, and
// measures what arrives. `probe` is what the tests talk to; it changes nothing in the page.
(() => {
  const COLUMNS = 8;
  const ROWS = 4;
  const CORNERS = new Map([[0, 1], [7, 0], [24, 1], [31, 1]]);
  const canvas = new OffscreenCanvas(COLUMNS * 8, ROWS * 8);
  const context = canvas.getContext('2d', { willReadFrequently: true });
  const gaps = new Map(); // tile key → {last, worst, frames}
  const BEEP_FRAMES = 30;
  const BEEP_SECONDS = 0.12;
  const QUIET = 0.05;
  const LOUD = 0.5;
  let microphone = null; // {context, volume, stream}, once it is faked
  let lastSkews = null; // what the last measurement saw, for the message of a failing test
  const painted = { last: null, worst: 0 }; // when the camera was painted last, and the longest wait for it
  let wanted = {}; // overrules what the page asks for: {layer, temporal}
  let socket = null; // the page's WebSocket
  let listening = null; // the AudioContext that sounds are measured in

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
      if (constraints.video) return markerStream(id, width, height, fps);
      return microphone ? microphone.stream.clone() : real(plainSound(constraints));
    };
  }

  // A beep needs no echo cancellation, and many pages' worth of it is a core's work.
  function plainSound(constraints) {
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    return { ...constraints, audio };
  }

  // `voice`: whose tone the screen plays; none without.
  function fakeScreen(id, width, height, fps, voice) {
    navigator.mediaDevices.getDisplayMedia = async () => {
      const stream = markerStream(id, width, height, fps);
      if (voice !== undefined) stream.addTrack(toneTrack(voice));
      return stream;
    };
  }

  function toneTrack(id) {
    const context = new AudioContext();
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    const tone = new OscillatorNode(context, { frequency: toneOf(id) });
    tone.connect(new GainNode(context, { gain: QUIET })).connect(out);
    tone.start();
    return out.stream.getAudioTracks()[0];
  }

  // The microphone that goes with a painted camera: a quiet tone of the publisher's own, loud for a moment whenever the
  // frame counter reaches a multiple of BEEP_FRAMES.
  function fakeMicrophone(id) {
    const context = new AudioContext();
    const tone = new OscillatorNode(context, { frequency: toneOf(id) });
    const volume = new GainNode(context, { gain: QUIET });
    const out = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
    tone.connect(volume).connect(out);
    tone.start();
    microphone = { context, volume, stream: out.stream };
  }

  function toneOf(id) {
    return 400 + 25 * id;
  }

  function beep() {
    if (!microphone) return;
    const { gain } = microphone.volume;
    const now = microphone.context.currentTime;
    gain.setValueAtTime(LOUD, now);
    gain.setValueAtTime(QUIET, now + BEEP_SECONDS);
  }

  function markerStream(id, width, height, fps) {
    const picture = Object.assign(document.createElement('canvas'), { width, height });
    let counter = 0;
    paint(picture, id, counter);
    const stream = picture.captureStream(0);
    const [track] = stream.getVideoTracks();
    // Firefox has it on the stream, where it once was specified.
    const frames = track.requestFrame ? track : stream;
    const timer = setInterval(() => {
      if (track.readyState === 'ended') return clearInterval(timer);
      counter += 1;
      const now = performance.now();
      painted.worst = Math.max(painted.worst, now - (painted.last ?? now));
      painted.last = now;
      paint(picture, id, counter);
      frames.requestFrame();
      if (counter % BEEP_FRAMES === 0) beep();
    }, 1000 / fps);
    return stream;
  }

  function remoteTiles() {
    return window.sfu?.tiles.filter((tile) => !tile.local && tile.trackId) ?? [];
  }

  // Follows every picture from now on; a gap counts when no frame was left out between two. Not for many pages at once:
  // it makes each of them run for each frame.
  function followGaps() {
    follow();
    setInterval(follow, 100);
  }

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
    painted.worst = 0;
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
    return { video, audio, sentFps: (after.sent - before.sent) / seconds, paintGapMs: painted.worst };
  }

  // The sounding track that belongs to a tile's picture: the one of the same msid stream.
  function soundOf({ video }) {
    const { pc } = window.sfu;
    const [picture] = video.srcObject?.getVideoTracks() ?? [];
    const at = pc.getTransceivers().find(({ receiver }) => receiver.track === picture);
    const streams = new Map(); // mid → msid stream
    for (const section of pc.remoteDescription.sdp.split(/^m=/m)) {
      streams.set(section.match(/^a=mid:(\S+)/m)?.[1], section.match(/^a=msid:(\S+)/m)?.[1]);
    }
    const other = pc.getTransceivers().find(({ mid, receiver }) => {
      return receiver.track.kind === 'audio' && at && streams.get(mid) === streams.get(at.mid);
    });
    return other?.receiver.track ?? null;
  }

  async function listenTo(track, fftSize) {
    listening ??= new AudioContext();
    await listening.resume();
    const source = listening.createMediaStreamSource(new MediaStream([track]));
    const analyser = new AnalyserNode(listening, { fftSize, smoothingTimeConstant: 0 });
    source.connect(analyser);
    return { analyser, stop: () => source.disconnect() };
  }

  // The strongest frequency of each remote sound, with the id in the picture beside it: [{id, hz, level}], level in dBFS.
  async function tones() {
    const heard = [];
    for (const tile of remoteTiles()) {
      const track = soundOf(tile);
      if (!track) continue;
      const { analyser, stop } = await listenTo(track, 8192);
      // A window of 8192 samples has to fill.
      await new Promise((resolve) => setTimeout(resolve, 400));
      const bins = new Float32Array(analyser.frequencyBinCount);
      analyser.getFloatFrequencyData(bins);
      stop();
      const level = bins.reduce((most, value) => Math.max(most, value), -Infinity);
      const hz = (bins.indexOf(level) * listening.sampleRate) / analyser.fftSize;
      heard.push({ id: read(tile.video)?.id ?? null, hz, level: Math.max(level, -200) });
    }
    return heard;
  }

  // How loud the tones of these publishers are in the first sound that arrives, in dBFS.
  async function levels(ids) {
    const track = window.sfu.pc.getReceivers().find((receiver) => receiver.track.kind === 'audio').track;
    const { analyser, stop } = await listenTo(track, 8192);
    await new Promise((resolve) => setTimeout(resolve, 400));
    const bins = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(bins);
    stop();
    const width = listening.sampleRate / analyser.fftSize;
    return ids.map((id) => Math.max(-200, bins[Math.round(toneOf(id) / width)]));
  }

  // How much later the sound comes than the picture, in ms, for each beep of the first remote publisher within `ms`.
  async function skews(ms) {
    const tile = remoteTiles()[0];
    const { analyser, stop } = await listenTo(soundOf(tile), 8192);
    const flashes = new Map(); // beep number → when its picture was shown
    const beeps = []; // when a sound rose
    let following = true;
    let shown = null;
    const onFrame = (now, { expectedDisplayTime }) => {
      const counter = read(tile.video)?.counter;
      const number = Math.floor(counter / BEEP_FRAMES);
      if (shown !== null && number > shown) flashes.set(number, expectedDisplayTime ?? now);
      if (counter !== undefined) shown = number;
      if (following) tile.video.requestVideoFrameCallback(onFrame);
    };
    tile.video.requestVideoFrameCallback(onFrame);
    const samples = new Float32Array(analyser.fftSize);
    const until = performance.now() + ms;
    while (performance.now() < until) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      analyser.getFloatTimeDomainData(samples);
      const onset = onsetIn(samples);
      // The window ends now, on the clock that pictures are shown on.
      const at = performance.now() - ((samples.length - onset) / listening.sampleRate) * 1000;
      if (onset >= 0 && !(at - beeps.at(-1) < 300)) beeps.push(at);
    }
    following = false;
    stop();
    lastSkews = { flashes: [...flashes], beeps };
    const near = (flash) => beeps.map((beep) => beep - flash).find((skew) => Math.abs(skew) < 400);
    return [...flashes.values()].map(near).filter((skew) => skew !== undefined);
  }

  // Where a window turns from the quiet tone to the loud one; −1 when it doesn't, or did so before it began.
  function onsetIn(samples) {
    const loud = 0.4 * LOUD;
    const first = samples.findIndex((sample) => Math.abs(sample) > loud);
    return first > 0.02 * listening.sampleRate ? first : -1;
  }

  // Every remote picture in this layer ("low", "medium", "high"), whatever its tile's size asks for; with `temporal`, in
  // no higher temporal layer than this.
  function prefer(layer, temporal) {
    wanted = { layer, temporal };
    for (const { trackId } of remoteTiles()) {
      socket.send(JSON.stringify({ type: 'prefer', track: trackId, paused: false }));
    }
  }

  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (text) {
    socket = this;
    const overruled = wanted.layer && typeof text === 'string' && text.includes('"type":"prefer"');
    send.call(this, overruled ? JSON.stringify({ ...JSON.parse(text), ...wanted, paused: false }) : text);
  };

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
      const lines = sdp?.match(/^m=\S+ \d+|^a=(mid:.*|sendrecv|sendonly|recvonly|inactive)/gm) ?? [];
      return `${Math.round(at)} ${sent ? '→' : '←'} ${type} ${JSON.stringify(rest).slice(0, 200)} ${lines.join(' ')}`;
    });
    if (lastSkews) log.push(`skews measured from ${JSON.stringify(lastSkews)}`);
    return [`state=${sfu.state} pc=${sfu.pc?.connectionState} ice=${sfu.pc?.iceConnectionState}`, ...tiles, ...log].join('\n');
  }

  window.probe = {
    other: () => remoteTiles()[0],
    read,
    seen,
    quality,
    tones,
    levels,
    skews,
    prefer,
    toneOf,
    describe,
    fakeCamera,
    followGaps,
    fakeMicrophone,
    fakeScreen,
  };
})();
