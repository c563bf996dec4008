import type { Entry } from './api';
import { Copyable } from './copy';

/** What to do first, while nothing is on the air. */
export function Empty({ entries, chosen, choose }: { entries: Entry[]; chosen?: Entry; choose(id: string): void }) {
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
      {chosen?.server ? <Ways entry={chosen} /> : <NoEntry known={entries.length > 0} />}
    </section>
  );
}

function Ways({ entry }: { entry: Entry }) {
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
      </div>
    </div>
  );
}

function NoEntry({ known }: { known: boolean }) {
  return known ? (
    <p>RTMP is switched off: set <code>rtmp.listen</code> in the configuration.</p>
  ) : (
    <p>
      This klive asks a Kaltura server who may publish. Take the broadcast address of a live entry from there,
      or add an entry with <code>klive entry add</code> when the embedded control plane is on.
    </p>
  );
}
