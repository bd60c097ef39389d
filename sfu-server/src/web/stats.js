// Reads getStats() once a second and turns it into one small record per m-section: rates over the last interval, loss,
// round trip. It knows no tiles and no participants.

const KEEP = ['frameWidth', 'frameHeight', 'framesPerSecond', 'freezeCount', 'totalFreezesDuration', 'framesDecoded'];

/// Records are keyed by mid for what is received (`inbound`), and by mid for what is sent (`outbound`, one per layer).
export class StatsReader {
  inbound = new Map();
  outbound = new Map();
  rttMs = null;
  availableOutgoing = null;
  #before = new Map(); // stats id → {at, bytes, packets, lost}

  async read(pc) {
    const report = await pc.getStats();
    const inbound = new Map();
    const outbound = new Map();
    for (const stat of report.values()) {
      if (stat.type === 'inbound-rtp') inbound.set(midOf(stat, report), this.#received(stat, report));
      if (stat.type === 'outbound-rtp') {
        const mid = midOf(stat, report);
        outbound.set(mid, [...(outbound.get(mid) ?? []), this.#sent(stat, report)]);
      }
      if (stat.type === 'candidate-pair' && stat.nominated && stat.state === 'succeeded') {
        this.rttMs = milliseconds(stat.currentRoundTripTime);
        this.availableOutgoing = stat.availableOutgoingBitrate ?? null;
      }
    }
    this.inbound = inbound;
    this.outbound = outbound;
    this.#before = new Map([...this.#before].filter(([id]) => report.has(id)));
  }

  #received(stat, report) {
    const delta = this.#delta(stat, stat.bytesReceived, stat.packetsReceived, stat.packetsLost);
    const offered = delta.packets + Math.max(0, delta.lost);
    return {
      kind: stat.kind,
      codec: codecOf(stat, report),
      bitrate: delta.bitrate,
      lossPercent: offered > 0 ? (100 * Math.max(0, delta.lost)) / offered : 0,
      jitterMs: milliseconds(stat.jitter),
      concealedSamples: stat.concealedSamples ?? 0,
      totalSamplesReceived: stat.totalSamplesReceived ?? 0,
      ...pick(stat),
    };
  }

  #sent(stat, report) {
    const delta = this.#delta(stat, stat.bytesSent, stat.packetsSent, 0);
    const remote = report.get(stat.remoteId);
    return {
      kind: stat.kind,
      rid: stat.rid ?? null,
      active: stat.active ?? true,
      codec: codecOf(stat, report),
      bitrate: delta.bitrate,
      limitedBy: stat.qualityLimitationReason ?? 'none',
      lossPercent: 100 * Math.max(0, remote?.fractionLost ?? 0),
      ...pick(stat),
    };
  }

  #delta(stat, bytes = 0, packets = 0, lost = 0) {
    const before = this.#before.get(stat.id);
    this.#before.set(stat.id, { at: stat.timestamp, bytes, packets, lost });
    if (!before || stat.timestamp <= before.at) return { bitrate: 0, packets: 0, lost: 0 };
    return {
      bitrate: (8000 * Math.max(0, bytes - before.bytes)) / (stat.timestamp - before.at),
      packets: Math.max(0, packets - before.packets),
      lost: lost - before.lost,
    };
  }
}

/// `1.24 Mbit/s`, `87 kbit/s`.
export function bitrateText(bitrate) {
  return bitrate >= 1e6 ? `${(bitrate / 1e6).toFixed(2)} Mbit/s` : `${Math.round(bitrate / 1000)} kbit/s`;
}

function pick(stat) {
  return Object.fromEntries(KEEP.map((key) => [key, stat[key] ?? null]));
}

function midOf(stat, report) {
  return stat.mid ?? report.get(stat.transceiverId)?.mid ?? stat.trackIdentifier;
}

function codecOf(stat, report) {
  const codec = report.get(stat.codecId);
  return codec ? codec.mimeType.split('/')[1] : null;
}

function milliseconds(seconds) {
  return seconds === undefined ? null : Math.round(seconds * 1000);
}
