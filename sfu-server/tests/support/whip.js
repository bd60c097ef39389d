// A WHIP encoder (RFC 9725) and a WHEP player for the tests, in any page of the server. `sfu` is what the probe reads,
// in the shape of the conference page's.
(() => {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const tiles = [];
  let session = null; // the session's URL
  let layerUrl = null; // where a player chooses its layer

  async function request(url, method, body, type = 'application/sdp') {
    const response = await fetch(url, { method, headers: { 'Content-Type': type }, body });
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
    return response;
  }

  function begin(url, { headers }) {
    session = new URL(headers.get('Location'), url).href;
    const [, layer] = headers.get('Link')?.match(/<([^>]+)>; *rel="urn:ietf:params:whep:ext:core:layer"/) ?? [];
    layerUrl = layer && new URL(layer, url).href;
  }

  async function offer(url, munge = (sdp) => sdp) {
    const { sdp } = await pc.createOffer();
    await pc.setLocalDescription({ type: 'offer', sdp: munge(sdp) });
    const response = await request(url, 'POST', pc.localDescription.sdp);
    begin(url, response);
    await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  }

  // Three streams of one picture as they were declared before there were rids: SIM has them, lowest first, and FID the RTX
  // of each.
  function withSsrcGroups(sdp) {
    const at = sdp.indexOf('m=video');
    const [, first, repair] = sdp.slice(at).match(/^a=ssrc-group:FID (\d+) (\d+)\r\n/m);
    const about = sdp.slice(at).match(new RegExp(`^a=ssrc:${first} .*\r\n`, 'gm'));
    const pairs = [[first, repair], ['1001', '1002'], ['2001', '2002']];
    const lines = pairs.slice(1).flatMap((pair) => [
      `a=ssrc-group:FID ${pair.join(' ')}\r\n`,
      ...pair.flatMap((ssrc) => about.map((line) => line.replace(first, ssrc))),
    ]);
    return `${sdp}a=ssrc-group:SIM ${pairs.map(([ssrc]) => ssrc).join(' ')}\r\n${lines.join('')}`;
  }

  // `encodings`: of the picture, as in addTransceiver. `ssrcGroups`: it is sent as three streams without rids.
  async function publish(url, { encodings, ssrcGroups = false } = {}) {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
    const picture = await navigator.mediaDevices.getUserMedia({ video: true });
    const stream = new MediaStream([...sound.getAudioTracks(), ...picture.getVideoTracks()]);
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === 'video' ? encodings : undefined;
      pc.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings });
    }
    await offer(url, ssrcGroups ? withSsrcGroups : undefined);
    if (!ssrcGroups) return;
    const sender = pc.getSenders().find(({ track }) => track.kind === 'video');
    const parameters = sender.getParameters();
    parameters.encodings.forEach((encoding, layer) => Object.assign(encoding, { scaleResolutionDownBy: 4 / 2 ** layer }));
    await sender.setParameters(parameters);
  }

  // Chromium can read the dependency descriptor, but doesn't say so by itself.
  function takeAllLayers(transceiver) {
    const extensions = transceiver.getHeaderExtensionsToNegotiate?.() ?? [];
    for (const one of extensions) if (one.uri.includes('#dependency-descriptor')) one.direction = 'sendrecv';
    transceiver.setHeaderExtensionsToNegotiate?.(extensions);
  }

  // `answers`: sends nothing and answers the server's offer.
  async function play(url, answers) {
    pc.ontrack = ({ track }) => {
      const element = document.createElement(track.kind);
      Object.assign(element, { autoplay: true, muted: track.kind === 'video', srcObject: new MediaStream([track]) });
      document.documentElement.append(element);
      if (track.kind === 'video') tiles.push({ key: track.id, trackId: track.id, video: element, local: false, layer: null });
    };
    if (!answers) {
      pc.addTransceiver('audio', { direction: 'recvonly' });
      takeAllLayers(pc.addTransceiver('video', { direction: 'recvonly' }));
      return offer(url);
    }
    const response = await request(url, 'POST', '');
    begin(url, response);
    await pc.setRemoteDescription({ type: 'offer', sdp: await response.text() });
    await pc.setLocalDescription();
    await request(session, 'PATCH', pc.localDescription.sdp);
  }

  // `layer`: as in docs/whip-whep.md, Layers and events of a player.
  async function choose(layer) {
    await request(layerUrl, 'POST', JSON.stringify(layer), 'application/json');
  }

  async function end() {
    await request(session, 'DELETE');
    pc.close();
  }

  window.whip = { publish, play, choose, end };
  window.sfu = { pc, tiles, log: [], state: 'bare' };
})();
