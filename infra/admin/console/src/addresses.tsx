import type { Entry, Stream } from './api';
import { Copyable } from './copy';

/** Where the chosen stream is published to and played from. */
export function Addresses({ stream, entry }: { stream: Stream; entry?: Entry }) {
  return (
    <section class="card addresses" aria-label="Addresses">
      <h2>{entry?.name || stream.entry}</h2>
      <p class="muted">Entry {stream.entry}</p>
      {stream.playUrl && <Copyable label="Play" hint="for any HLS player" text={stream.playUrl} />}
      {entry?.server && <PublishAddresses entry={entry} />}
    </section>
  );
}

export function PublishAddresses({ entry }: { entry: Entry }) {
  return (
    <>
      <Copyable label="Server" hint="primary encoder" text={entry.server ?? ''} />
      <Copyable label="Server" hint="backup encoder" text={entry.backup ?? ''} />
      <Copyable label="Stream key" text={entry.key ?? ''} />
    </>
  );
}
