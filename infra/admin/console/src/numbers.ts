// What a peer connection sends, out of its statistics.

export interface Numbers {
  bitrate: number; // bit/s
  picture: string; // "1280×720, 30 frames/s"
  codecs: string; // "H264, opus"
  path: string; // "UDP, 12 ms, 0.0 % lost"
  limit: string; // why the picture is less than was asked for; empty when it is not
}

/** Readings for which a limit has to last: each stream begins small, and a muted one stays so. */
const patience = 12;

interface Sent {
  bytes: number;
  at: number; // ms
}

/** Returns a function that reads a connection's numbers since it was called last. */
export function meter(): (pc: RTCPeerConnection) => Promise<Numbers> {
  let before: Sent | null = null;
  let of: RTCPeerConnection | null = null;
  let limited = 0; // readings in a row
  return async (pc) => {
    const report = await pc.getStats();
    const find = (id?: string) => (id ? report.get(id) : undefined);
    const sums = { bytes: 0, picture: '–', codecs: [] as string[], limit: '', lost: 0, rtt: 0, path: '' };
    report.forEach((s) => {
      switch (s.type) {
        case 'outbound-rtp':
          sums.bytes += s.bytesSent ?? 0;
          sums.codecs.push(String(find(s.codecId)?.mimeType ?? '').split('/')[1] ?? '');
          if (s.kind === 'video' && s.frameWidth) sums.picture = `${s.frameWidth}×${s.frameHeight}, ${Math.round(s.framesPerSecond ?? 0)} frames/s`;
          if (s.kind === 'video' && s.qualityLimitationReason && s.qualityLimitationReason !== 'none') sums.limit = s.qualityLimitationReason;
          break;
        case 'remote-inbound-rtp':
          sums.lost = Math.max(sums.lost, s.fractionLost ?? 0);
          break;
        case 'transport': {
          const pair = find(s.selectedCandidatePairId);
          sums.rtt = pair?.currentRoundTripTime ?? 0;
          sums.path = String(find(pair?.localCandidateId)?.protocol ?? '').toUpperCase();
          break;
        }
      }
    });
    const now = performance.now();
    const bitrate = before && of === pc && now > before.at ? Math.max(0, (8000 * (sums.bytes - before.bytes)) / (now - before.at)) : 0;
    limited = sums.limit ? limited + 1 : 0;
    before = { bytes: sums.bytes, at: now };
    of = pc;
    return {
      bitrate, picture: sums.picture, codecs: sums.codecs.filter(Boolean).join(', ') || '–',
      path: sums.path ? `${sums.path}, ${(1000 * sums.rtt).toFixed(0)} ms, ${(100 * sums.lost).toFixed(1)} % lost` : '–',
      limit: limited > patience ? limits[sums.limit] ?? '' : '',
    };
  };
}

const limits: Record<string, string> = {
  cpu: 'This machine is too slow for the chosen quality.',
  bandwidth: 'The network carries less than the chosen quality.',
  other: 'The browser holds the quality down.',
};
