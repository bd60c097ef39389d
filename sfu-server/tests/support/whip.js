// A WHIP encoder (RFC 9725) and a WHEP player for the tests, in any page of the server. `sfu` is what the probe reads,
// in the shape of the conference page's.
(() => {
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  const tiles = [];
  let session = null; // the session's URL

  async function request(url, method, body) {
    const response = await fetch(url, { method, headers: { 'Content-Type': 'application/sdp' }, body });
    if (!response.ok) throw new Error(`${method} ${url}: ${response.status} ${await response.text()}`);
    return response;
  }

  async function offer(url) {
    await pc.setLocalDescription();
    const response = await request(url, 'POST', pc.localDescription.sdp);
    session = new URL(response.headers.get('Location'), url).href;
    await pc.setRemoteDescription({ type: 'answer', sdp: await response.text() });
  }

  async function publish(url) {
    const sound = await navigator.mediaDevices.getUserMedia({ audio: true });
    const picture = await navigator.mediaDevices.getUserMedia({ video: true });
    const stream = new MediaStream([...sound.getAudioTracks(), ...picture.getVideoTracks()]);
    for (const track of stream.getTracks()) pc.addTransceiver(track, { direction: 'sendonly', streams: [stream] });
    await offer(url);
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
      pc.addTransceiver('video', { direction: 'recvonly' });
      return offer(url);
    }
    const response = await request(url, 'POST', '');
    session = new URL(response.headers.get('Location'), url).href;
    await pc.setRemoteDescription({ type: 'offer', sdp: await response.text() });
    await pc.setLocalDescription();
    await request(session, 'PATCH', pc.localDescription.sdp);
  }

  async function end() {
    await request(session, 'DELETE');
    pc.close();
  }

  window.whip = { publish, play, end };
  window.sfu = { pc, tiles, log: [], state: 'bare' };
})();
