// The texts of WHIP: SDP fragments, Link headers, problems.

/** A refusal of the endpoint, in its words. */
export interface Refused extends Error {
  status: number;
}

/** What an answer that says no means: its problem's detail (RFC 9457), or its status. */
export async function refusal(response: Response): Promise<Refused> {
  const problem = (await response.json().catch(() => null)) as { detail?: string; title?: string } | null;
  const text = problem?.detail ?? problem?.title ?? `klive answered ${response.status} ${response.statusText}`.trim();
  return Object.assign(new Error(text), { status: response.status });
}

/** The ICE servers of a Link header (RFC 9725 §4.6). */
export function iceServers(link: string): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const [, url, rest] of link.matchAll(/<([^>]*)>((?:\s*;\s*[\w-]+\s*=\s*(?:"(?:\\.|[^"\\])*"|[^",;\s]+))*)/g)) {
    const parameters = new Map<string, string>();
    for (const [, name, quoted, plain] of (rest ?? '').matchAll(/;\s*([\w-]+)\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^",;\s]+))/g)) {
      parameters.set(name!.toLowerCase(), quoted?.replace(/\\(.)/g, '$1') ?? plain ?? '');
    }
    if (!url || parameters.get('rel') !== 'ice-server' || !/^(stuns?|turns?):/.test(url)) continue;
    servers.push({ urls: url, username: parameters.get('username'), credential: parameters.get('credential') });
  }
  return servers;
}

const line = (sdp: string, start: string) => sdp.split(/\r?\n/).find((l) => l.startsWith(start));

/** The SDP fragment (RFC 8840) that tells of candidates of a description; of none, it tells its ICE credentials. */
export function candidateFragment(local: string, candidates: RTCIceCandidate[], last: boolean): string {
  const media = line(local, 'm=') ?? 'm=audio 9 UDP/TLS/RTP/SAVPF 0';
  const lines = [
    line(local, 'a=group:BUNDLE'), media, line(local, 'a=mid:'), line(local, 'a=ice-ufrag:'), line(local, 'a=ice-pwd:'),
    ...candidates.map((c) => `a=${c.candidate}`),
    last ? 'a=end-of-candidates' : undefined,
  ];
  return lines.filter((l) => l !== undefined).join('\r\n') + '\r\n';
}

/** An answer with the ICE credentials and candidates that a restart's fragment brought. */
export function withRestart(answer: string, fragment: string): string {
  const ufrag = line(fragment, 'a=ice-ufrag:');
  const pwd = line(fragment, 'a=ice-pwd:');
  if (!ufrag || !pwd) throw new Error('the answer to an ICE restart lacks credentials');
  const found = fragment.split(/\r?\n/).filter((l) => l.startsWith('a=candidate:') || l === 'a=end-of-candidates');
  const out: string[] = [];
  let sections = 0;
  for (const l of answer.split(/\r?\n/)) {
    if (l.startsWith('m=')) sections++;
    if (l === '' || l.startsWith('a=candidate:') || l === 'a=end-of-candidates') continue;
    out.push(l.startsWith('a=ice-ufrag:') ? ufrag : l.startsWith('a=ice-pwd:') ? pwd : l);
    if (l.startsWith('a=ice-pwd:') && sections <= 1) out.push(...found); // bundled: the first section has them for all
  }
  return out.join('\r\n') + '\r\n';
}
