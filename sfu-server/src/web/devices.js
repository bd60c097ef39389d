// Cameras, microphones and screens: asking for them, listing them, and naming what went wrong. Also the level meter.
// It knows nothing of calls.

const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 } };
const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
// Music and films stay as they are.
const SCREEN_AUDIO = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/// A capture that failed; `code` is a key of notices.js.
export class CaptureError extends Error {
  constructor(code, cause) {
    super(code, { cause });
    this.code = code;
  }
}

export function canCapture() {
  return Boolean(navigator.mediaDevices?.getUserMedia);
}

export function canShareScreen() {
  return Boolean(navigator.mediaDevices?.getDisplayMedia);
}

/// A microphone track. `deviceId` may be empty: the browser's default.
export async function openMicrophone(deviceId) {
  const stream = await capture({ audio: { ...AUDIO, ...exactly(deviceId) } }, 'microphone');
  return stream.getAudioTracks()[0];
}

export async function openCamera(deviceId, size = null) {
  const video = size ? { ...VIDEO, width: { ideal: size.width }, height: { ideal: size.height } } : VIDEO;
  const stream = await capture({ video: { ...video, ...exactly(deviceId) } }, 'camera');
  const track = stream.getVideoTracks()[0];
  if ('contentHint' in track) track.contentHint = 'motion';
  return track;
}

/// The screen, window or tab that the person picks, with its sound where the browser gives it: {video, audio or null}. Null
/// when they changed their mind.
export async function openScreen() {
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 30, max: 30 } },
      audio: { ...SCREEN_AUDIO, suppressLocalAudioPlayback: false },
      systemAudio: 'include',
    });
    const video = stream.getVideoTracks()[0];
    if ('contentHint' in video) video.contentHint = 'detail';
    return { video, audio: stream.getAudioTracks()[0] ?? null };
  } catch (error) {
    if (error.name === 'NotAllowedError' || error.name === 'AbortError') return null;
    throw new CaptureError('screen_failed', error);
  }
}

/// {microphones, cameras}, each a list of {id, label}.
export async function listDevices() {
  if (!navigator.mediaDevices?.enumerateDevices) return { microphones: [], cameras: [] };
  const devices = await navigator.mediaDevices.enumerateDevices();
  const list = (kind, noun) =>
    devices
      .filter((device) => device.kind === kind)
      .map((device, index) => ({ id: device.deviceId, label: device.label || `${noun} ${index + 1}` }));
  return { microphones: list('audioinput', 'Microphone'), cameras: list('videoinput', 'Camera') };
}

/// Calls `onLevel` with 0…1 some 20 times a second until the returned function is called.
export function meterLevel(track, onLevel) {
  const context = new AudioContext();
  const analyser = context.createAnalyser();
  analyser.fftSize = 512;
  context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(samples);
    const power = samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length;
    // −60 dBFS … 0 dBFS on a straight line.
    const decibels = 10 * Math.log10(power + 1e-9);
    onLevel(Math.min(1, Math.max(0, (decibels + 60) / 60)));
  }, 50);
  return () => {
    clearInterval(timer);
    void context.close();
  };
}

function exactly(deviceId) {
  return deviceId ? { deviceId: { exact: deviceId } } : {};
}

async function capture(constraints, what) {
  if (!canCapture()) throw new CaptureError('insecure');
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    const gone = error.name === 'OverconstrainedError' && error.constraint === 'deviceId';
    if (gone) {
      // The device that was chosen last time isn't there now.
      const [kind, wish] = Object.entries(constraints)[0];
      const { deviceId, ...rest } = wish;
      return capture({ [kind]: rest }, what);
    }
    throw new CaptureError(`${what}_${REASONS[error.name] ?? 'failed'}`, error);
  }
}

const REASONS = {
  NotAllowedError: 'denied',
  SecurityError: 'denied',
  NotFoundError: 'missing',
  DevicesNotFoundError: 'missing',
  NotReadableError: 'busy',
  AbortError: 'busy',
};
