// The lines of numbers over a picture: what is received, what is sent. Records come from stats.js; it knows no elements.

import { bitrateText } from './stats.js';

const LAYER_NAMES = ['low', 'medium', 'high'];

/// The overlay's lines for a picture or sound that is received. `layer` is null where the server tells none.
export function receivedLines(video, audio, layer, rttMs) {
  const lines = [];
  if (video) {
    const size = video.frameWidth ? `${video.frameWidth}×${video.frameHeight}` : 'no picture';
    lines.push(`${video.codec ?? '–'} ${size} @ ${Math.round(video.framesPerSecond ?? 0)}`);
    lines.push(`${layer === null ? '' : `layer ${layerText(layer)} · `}${bitrateText(video.bitrate)}`);
    lines.push(`loss ${video.lossPercent.toFixed(1)} % · rtt ${rttMs ?? '–'} ms`);
    const frozen = video.totalFreezesDuration ?? 0;
    lines.push(`freezes ${video.freezeCount ?? 0}${frozen ? ` (${frozen.toFixed(1)} s)` : ''}`);
  }
  if (audio) lines.push(`${audio.codec ?? '–'} ${bitrateText(audio.bitrate)} · loss ${audio.lossPercent.toFixed(1)} %`);
  return lines;
}

/// The overlay's lines for what is sent, one per layer.
export function sentLines(layers, audio, rttMs) {
  const lines = [];
  for (const layer of layers ?? []) {
    if (!layer.active || !layer.frameWidth) continue;
    const name = layer.rid ? `${layer.rid} ` : '';
    lines.push(
      `${name}${layer.codec ?? '–'} ${layer.frameWidth}×${layer.frameHeight} @ ${Math.round(layer.framesPerSecond ?? 0)} · ${bitrateText(layer.bitrate)}`,
    );
  }
  const limit = layers?.find((layer) => layer.limitedBy !== 'none')?.limitedBy;
  if (limit) lines.push(`limited by ${limit}`);
  if (audio?.length) lines.push(`${audio[0].codec ?? '–'} ${bitrateText(audio[0].bitrate)}`);
  lines.push(`rtt ${rttMs ?? '–'} ms`);
  return lines;
}

function layerText(layer) {
  if (!layer) return '–';
  if (layer.layer === null) return layer.reason ?? 'none';
  return layer.temporal === undefined ? LAYER_NAMES[layer.layer] : `${LAYER_NAMES[layer.layer]} T${layer.temporal}`;
}
