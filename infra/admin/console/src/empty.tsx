import type { Entry } from './api';
import { Copyable } from './copy';

/** What to do first, while nothing is on the air. */
export function Empty({ entries, chosen, choose, publish }: { entries: Entry[]; chosen?: Entry; choose(id: string): void; publish(id: string): void }) {
  return (
    <section class="card empty">
      <div class="empty-head">
        <span class="pulse" aria-hidden="true" />
        <div>
          <h2>Nothing is on the air</h2>
          <p class="muted">Point an encoder at one of these addresses. The stream shows up here within seconds.</p>
        </div>
        {entries.length > 1 && (
          <label class="pick">
            Entry
            <select value={chosen?.id} onChange={(e) => choose(e.currentTarget.value)}>
              {entries.map((e) => <option key={e.id} value={e.id}>{e.name || e.id}</option>)}
            </select>
          </label>
        )}
      </div>
      {chosen?.server ? <Ways entry={chosen} publish={publish} /> : <NoEntry chosen={chosen} publish={publish} />}
    </section>
  );
}

function Ways({ entry, publish }: { entry: Entry; publish(id: string): void }) {
  return (
    <div class="ways">
      <div>
        <h3>OBS Studio</h3>
        <p class="muted">Settings → Stream, service “Custom…”</p>
        <Copyable label="Server" text={entry.server ?? ''} />
        <Copyable label="Stream key" text={entry.key ?? ''} />
        <p class="muted">Settings → Output: keyframe interval 2 s. Then press Start Streaming.</p>
      </div>
      <div>
        <h3>ffmpeg</h3>
        <p class="muted">Any file, as if it were live</p>
        <Copyable label="Command" text={entry.ffmpeg ?? ''} />
        {entry.playUrl && <Copyable label="Play" hint="once it is live" text={entry.playUrl} />}
        <FromHere entry={entry} publish={publish} />
      </div>
    </div>
  );
}

function FromHere({ entry, publish }: { entry: Entry; publish(id: string): void }) {
  if (!entry.whip) return null;
  return (
    <p>
      No encoder at hand? <button type="button" class="link" onClick={() => publish(entry.id)}>Publish from this browser</button>
    </p>
  );
}

function NoEntry({ chosen, publish }: { chosen?: Entry; publish(id: string): void }) {
  return chosen ? (
    <>
      <p>RTMP is switched off: set <code>rtmp.listen</code> in the configuration, or publish in another way.</p>
      <FromHere entry={chosen} publish={publish} />
    </>
  ) : (
    <p>
      This klive asks a Kaltura server who may publish. Take the broadcast address of a live entry from there,
      or add an entry with <code>klive entry add</code> when the embedded control plane is on.
    </p>
  );
}
