// How pictures are encoded for sending: the simulcast layers of a camera, the one layer of a screen, and the bitrate that
// a sender starts with. Calls and broadcasts use it; it knows no connection.

const RIDS = ['q', 'h', 'f'];
// Of 1280×720. Other sizes get what their number of pixels is worth, which is less than in proportion.
const FULL_PIXELS = 1280 * 720;
const SIZE_EXPONENT = 0.75;
const BITRATE_MAX = 4_000_000;
// Pixels of a picture that is worth two layers, and three. Chromium counts likewise and leaves out the *highest* layers
// of a smaller picture: with three encodings of 640×480 nothing above 320×240 would be sent.
const LAYERS_FROM = [0, 480 * 270, 960 * 540];

/// What is sent, and what 1280×720 of it may cost. A broadcast's picture is the only one in its room: it may cost more
/// than one of ten.
const FULL_BITRATE = { camera: 1_500_000, broadcast: 2_500_000 };
const SCREEN_BITRATE = 2_500_000;

/// The encodings for `source` (camera, broadcast, screen; undefined for sound), by the size of its track if it is known.
/// Lowest first, as the server orders its ladder. Each names its own L1T*: without it, VP9 and AV1 would turn several
/// encodings into one SVC stream.
export function encodingsFor(source, track) {
  if (source === 'screen') return [{ maxBitrate: SCREEN_BITRATE, scalabilityMode: 'L1T1' }];
  if (!FULL_BITRATE[source]) return undefined;
  return RIDS.map((rid, layer) => ({ rid, ...layerOf(source, track, layer), scalabilityMode: 'L1T2' }));
}

/// Fits the layers of a section to the size of another track. Nothing is negotiated: a small picture leaves the upper
/// layers out.
export async function fitEncodings(sender, source, track) {
  if (!FULL_BITRATE[source] || !track) return;
  const parameters = sender.getParameters();
  if (parameters.encodings?.length !== RIDS.length) return;
  parameters.encodings.forEach((encoding, layer) => Object.assign(encoding, layerOf(source, track, layer)));
  // Refused while a negotiation is under way in some browsers: then the layers stay as they are.
  await sender.setParameters(parameters).catch(() => {});
}

function layerOf(source, track, layer) {
  const { width, height } = track?.getSettings?.() ?? {};
  const pixels = width && height ? width * height : FULL_PIXELS;
  const layers = LAYERS_FROM.filter((from) => pixels >= from).length;
  const scaleResolutionDownBy = 2 ** Math.max(0, layers - 1 - layer);
  const size = pixels / scaleResolutionDownBy ** 2 / FULL_PIXELS;
  const maxBitrate = Math.round(Math.min(BITRATE_MAX, FULL_BITRATE[source] * size ** SIZE_EXPONENT));
  return { active: layer < layers, scaleResolutionDownBy, maxBitrate };
}

// Enough for the highest layer to be in the first picture, by the browser's own minimum for 1280×720. A narrower uplink
// is noticed within a second.
const START_BITRATE_KBPS = 1500;
const PICTURES = /^a=rtpmap:(\d+) (?:VP8|VP9|AV1|H264|H265)\/90000$/i;

/// Adds a section that sends `track` (or nothing yet, of a `kind`). A browser that refuses the scalability modes gets
/// none: it encodes VP8, which needs none.
export function addSender(pc, track, init) {
  try {
    return pc.addTransceiver(track, init);
  } catch {
    const sendEncodings = init.sendEncodings?.map(({ scalabilityMode, ...rest }) => rest);
    return pc.addTransceiver(track, { ...init, sendEncodings });
  }
}

/// A server's description in which the pictures that it receives start at a bitrate worth looking at. Without it
/// Chromium starts at 300 kbit/s, so that the first seconds are 320×180. Other browsers ignore the parameter.
export function withStartBitrate(sdp) {
  return sdp
    .split(/^(?=m=)/m)
    .map((section) => (/^m=video /.test(section) && /^a=(?:recvonly|sendrecv)\r?$/m.test(section) ? startingAt(section) : section))
    .join('');
}

function startingAt(section) {
  const parameter = `x-google-start-bitrate=${START_BITRATE_KBPS}`;
  const lines = section.split('\r\n');
  const pictures = lines.map((line) => line.match(PICTURES)?.[1]).filter(Boolean);
  const described = new Set(lines.map((line) => line.match(/^a=fmtp:(\d+) /)?.[1]).filter(Boolean));
  return lines
    .flatMap((line) => {
      const [, kind, type] = line.match(/^a=(rtpmap|fmtp):(\d+) /) ?? [];
      if (!pictures.includes(type)) return [line];
      if (kind === 'fmtp') return [`${line};${parameter}`];
      return described.has(type) ? [line] : [line, `a=fmtp:${type} ${parameter}`];
    })
    .join('\r\n');
}
