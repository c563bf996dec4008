import type { Entry, Link, Stream } from './api';
import { Copyable } from './copy';

/** Where the chosen stream is published to and played from. */
export function Addresses({ stream, entry }: { stream: Stream; entry?: Entry }) {
  return (
    <section class="card addresses" aria-label="Addresses">
      <h2>{entry?.name || stream.entry}</h2>
      <p class="muted">Entry {stream.entry}</p>
      {stream.link && <LinkLine link={stream.link} />}
      {stream.playUrl && <Copyable label="Play" hint="for any HLS player" text={stream.playUrl} />}
      {entry?.key && <PublishAddresses entry={entry} />}
    </section>
  );
}

/** What an operator wants to know of a connection that may lose packets. */
function LinkLine({ link: l }: { link: Link }) {
  const share = l.received > 0 ? (100 * l.lost) / l.received : 0;
  const parts = [
    `round trip ${l.rtt.toFixed(l.rtt < 10 ? 1 : 0)} ms of ${l.latency.toFixed(0)} ms latency`,
    `${share.toFixed(share < 1 ? 2 : 1)} % lost`,
    `${l.retransmitted} repeated`,
    `${l.belated + l.dropped} too late`,
    `${l.damaged} frames damaged`,
    ...(l.plis ? [`${l.plis} keyframes asked for`] : []),
    l.encrypted ? 'encrypted' : 'not encrypted',
  ];
  return <p class="muted">Link: {parts.join(' · ')}</p>;
}

export function PublishAddresses({ entry }: { entry: Entry }) {
  return (
    <>
      {entry.server && <Copyable label="Server" hint="primary encoder" text={entry.server} />}
      {entry.backup && <Copyable label="Server" hint="backup encoder" text={entry.backup} />}
      {entry.server && <Copyable label="Stream key" text={entry.key ?? ''} />}
      {entry.rtmps && <Copyable label="RTMPS" hint="encrypted, instead of the primary's server" text={entry.rtmps} />}
      {entry.srt && <Copyable label="SRT" hint="for SRT callers" text={entry.srt} />}
      {entry.push && <Copyable label="HTTP" hint="for packagers and MPEG-TS" text={entry.push} />}
      {entry.whip && <Copyable label="WHIP" hint="for browsers and OBS" text={entry.whip} />}
      {entry.whip && entry.token && <Copyable label="Bearer token" hint="for WHIP" text={entry.token} />}
    </>
  );
}
