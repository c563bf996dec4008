// A WHIP publisher (RFC 9725): offers tracks to an endpoint, sends ICE candidates as they are found, restarts ICE when the
// path breaks, publishes anew when that is not enough, and takes leave.
import { candidateFragment, iceServers, refusal, withRestart, type Refused } from './whip-forms';

export interface Target {
  url: string; // the endpoint: https://host/whip/0_rkij47dr_1?p=102&i=0
  token: string;
}

export type Phase = 'connecting' | 'live' | 'restoring' | 'ended' | 'failed';

/** Times in ms: until a path must be there, a silent path is given, and attempts of a stream that was live go on. */
const pathWithin = 15_000;
const silentFor = 3_000;
const restoreFor = 120_000;
const answerWithin = 20_000;

export class Publication {
  pc: RTCPeerConnection | null = null;
  private session = ''; // the session's address, once there is one
  private etag = '';
  private candidates: RTCIceCandidate[] = [];
  private gathered = false; // no more candidates will come
  private trickling = false;
  private noTrickle = false; // the endpoint takes no candidates
  private timer = 0;
  private wasLive = false;
  private lostAt = 0;
  private restarting = false;
  private over = false;

  constructor(
    private readonly target: Target,
    private tracks: MediaStreamTrack[],
    private maxBitrate: number, // of the picture, bit/s
    private readonly tell: (phase: Phase, reason: string) => void,
  ) {}

  /** Publishes until stop; what happens is told. */
  start(): Promise<void> {
    this.tell('connecting', '');
    return this.connect();
  }

  /** Ends the publication, here and at klive. */
  stop() {
    this.end('ended', '');
  }

  /** Takes leave while the page goes away: nobody waits for the answer. */
  abandon() {
    if (this.session) void fetch(this.session, { method: 'DELETE', headers: this.authorization(), keepalive: true }).catch(() => undefined);
    this.session = '';
    this.end('ended', '');
  }

  /** Sends other tracks in place of those of the same kinds, the picture with maxBitrate at most. */
  async replace(tracks: MediaStreamTrack[], maxBitrate: number) {
    this.maxBitrate = maxBitrate;
    this.tracks = tracks;
    for (const track of tracks) {
      const sender = this.pc?.getSenders().find((s) => s.track?.kind === track.kind);
      await sender?.replaceTrack(track);
      const parameters = sender?.getParameters();
      if (track.kind !== 'video' || !parameters?.encodings[0]) continue;
      parameters.encodings[0].maxBitrate = maxBitrate;
      await sender?.setParameters(parameters);
    }
  }

  private async connect(): Promise<void> {
    this.close();
    const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.pc = pc;
    pc.onicecandidate = (e) => this.found(pc, e.candidate);
    pc.onconnectionstatechange = () => this.changed(pc);
    const stream = new MediaStream(this.tracks);
    for (const track of this.tracks) {
      const encoding = track.kind === 'video' ? [{ maxBitrate: this.maxBitrate }] : undefined;
      pc.addTransceiver(track, { direction: 'sendonly', streams: [stream], sendEncodings: encoding });
    }
    try {
      const offer = await pc.createOffer();
      const response = await this.ask(this.target.url, 'POST', 'application/sdp', offer.sdp);
      if (response.status !== 201) throw await refusal(response);
      const answer = await response.text();
      const session = response.headers.get('Location');
      if (this.pc !== pc) { // stopped meanwhile
        if (session) await this.ask(new URL(session, response.url).href, 'DELETE').catch(() => undefined);
        return;
      }
      this.session = session ? new URL(session, response.url).href : '';
      this.etag = response.headers.get('ETag') ?? '';
      const servers = iceServers(response.headers.get('Link') ?? '');
      if (servers.length > 0) pc.setConfiguration({ ...pc.getConfiguration(), iceServers: servers });
      await pc.setLocalDescription(offer); // candidates are looked for from here on
      await pc.setRemoteDescription({ type: 'answer', sdp: answer });
      this.after(pathWithin, () => this.noPath(pc, answer));
    } catch (e) {
      if (this.pc === pc) this.failed(e as Error);
    }
  }

  /** A candidate was found; null means that it was the last. */
  private found(pc: RTCPeerConnection, candidate: RTCIceCandidate | null) {
    if (this.pc !== pc || this.noTrickle) return;
    if (candidate?.candidate) this.candidates.push(candidate);
    else this.gathered = true;
    void this.trickle(pc);
  }

  /** Sends the candidates that wait, one request at a time. */
  private async trickle(pc: RTCPeerConnection) {
    if (this.trickling || !this.session || pc.signalingState !== 'stable') return;
    this.trickling = true;
    while (this.pc === pc && (this.candidates.length > 0 || this.gathered) && !this.noTrickle) {
      const fragment = candidateFragment(pc.localDescription?.sdp ?? '', this.candidates.splice(0), this.gathered);
      this.gathered = false;
      const response = await this.patch(this.etag, fragment).catch(() => null);
      // 405, 415, 422 and 501 say that this endpoint does without; the browser's own checks reach it all the same.
      if (!response || [405, 415, 422, 501].includes(response.status)) this.noTrickle = true;
    }
    this.trickling = false;
  }

  private changed(pc: RTCPeerConnection) {
    if (this.pc !== pc) return;
    switch (pc.connectionState) {
      case 'connected':
        this.after(0);
        this.wasLive = true;
        this.lostAt = 0;
        void this.trickle(pc);
        this.tell('live', '');
        break;
      case 'disconnected':
        if (this.wasLive) this.after(silentFor, () => void this.restart(pc));
        break;
      case 'failed':
        if (this.wasLive) void this.restart(pc);
        break;
    }
  }

  /** Looks for another path within the same session (RFC 9725 §4.3.2), or publishes anew. */
  private async restart(pc: RTCPeerConnection) {
    if (this.restarting) return;
    this.lose('The path to klive broke; looking for another.');
    if (!this.session || this.noTrickle) return this.again(0);
    this.restarting = true;
    try {
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: true }));
      const response = await this.patch('*', candidateFragment(pc.localDescription?.sdp ?? '', [], false));
      if (response.status !== 200) throw await refusal(response);
      const answer = withRestart(pc.remoteDescription?.sdp ?? '', await response.text());
      if (this.pc !== pc) return;
      this.etag = response.headers.get('ETag') ?? this.etag;
      await pc.setRemoteDescription({ type: 'answer', sdp: answer });
      void this.trickle(pc);
      this.after(pathWithin, () => this.again(0));
    } catch {
      if (this.pc === pc) this.again(0);
    } finally {
      this.restarting = false;
    }
  }

  /** Publishes anew after a while; klive goes on with the broadcast. */
  private again(wait: number) {
    this.close();
    this.after(wait, () => void this.connect());
  }

  private lose(reason: string) {
    this.lostAt ||= performance.now();
    this.tell('restoring', reason);
  }

  /** An attempt to publish failed: the end, unless this was live and klive may take it again. */
  private failed(e: Error) {
    const status = (e as Refused).status ?? 0;
    const passing = status === 0 || status === 409 || status === 429 || status >= 500;
    if (this.wasLive && passing && performance.now() - (this.lostAt ||= performance.now()) < restoreFor) {
      this.lose(e.message);
      this.again(2_000);
      return;
    }
    this.end('failed', e.message);
  }

  private noPath(pc: RTCPeerConnection, answer: string) {
    if (this.pc !== pc) return;
    const there = [...answer.matchAll(/^a=candidate:\S+ 1 (\S+) \d+ (\S+) (\d+)/gm)].map((m) => `${m[2]}:${m[3]} (${m[1]!.toUpperCase()})`);
    const where = there.length > 0 ? `at ${there.slice(0, 4).join(', ')}` : 'at any address: it named none';
    this.failed(new Error(`klive took the stream, but media can't reach it ${where}. A firewall may be in between, or webrtc.publicAddress is not set.`));
  }

  private patch(match: string, body: string): Promise<Response> {
    return this.ask(this.session, 'PATCH', 'application/trickle-ice-sdpfrag', body, match ? { 'If-Match': match } : {});
  }

  private async ask(url: string, method: string, type = '', body?: string, headers: Record<string, string> = {}): Promise<Response> {
    if (type) headers = { ...headers, 'Content-Type': type };
    try {
      return await fetch(url, { method, body, headers: { ...headers, ...this.authorization() }, signal: AbortSignal.timeout(answerWithin) });
    } catch {
      throw new Error(`Nothing answers at ${new URL(url, location.href).origin}. Is klive's HTTP listener reachable from this browser?`);
    }
  }

  private authorization(): Record<string, string> {
    return this.target.token ? { Authorization: `Bearer ${this.target.token}` } : {};
  }

  private after(ms: number, job?: () => void) {
    window.clearTimeout(this.timer);
    if (job) this.timer = window.setTimeout(job, ms);
  }

  /** Ends for good. */
  private end(phase: Phase, reason: string) {
    if (this.over) return;
    this.over = true;
    this.close();
    this.tell(phase, reason);
  }

  /** Ends the connection; first it takes leave of the session, because one whose peer has gone is over by then. */
  private close() {
    this.after(0);
    const { pc, session } = this;
    this.pc = null;
    this.session = this.etag = '';
    this.candidates = [];
    this.gathered = this.trickling = this.noTrickle = false;
    if (pc) pc.onicecandidate = pc.onconnectionstatechange = null;
    const leave = session ? this.ask(session, 'DELETE').catch(() => undefined) : Promise.resolve(undefined); // klive may be gone
    void leave.finally(() => pc?.close());
  }
}
