import { useEffect, useState } from 'preact/hooks';
import { addEntry, getProfiles, removeEntry, type Entry, type NewEntry, type Profile } from './api';
import { PublishAddresses } from './addresses';
import { Copyable } from './copy';

/** The live entries of klive's own control plane: their addresses, new ones, and away with them. */
export function ManageEntries({ entries, changed, publish }: { entries: Entry[]; changed(): void; publish(entry: string): void }) {
  const [shown, show] = useState('');
  const [doomed, doom] = useState('');
  const [trouble, setTrouble] = useState('');

  const remove = async (id: string) => {
    doom('');
    try {
      await removeEntry(id);
      setTrouble('');
    } catch (e) {
      setTrouble((e as Error).message);
    }
    changed();
  };

  return (
    <section class="card entries" aria-label="Entries">
      <h2>Entries</h2>
      {trouble && <p class="banner" role="alert">{trouble}</p>}
      <ul class="entry-list">
        {entries.map((e) => (
          <li key={e.id}>
            <div class="entry-row">
              <button type="button" class="entry-name" aria-expanded={shown === e.id} onClick={() => show(shown === e.id ? '' : e.id)}>
                {e.name || e.id} <span class="muted">{e.id}</span>
              </button>
              {e.live && <span class="muted">on the air</span>}
              {doomed === e.id ? (
                <span class="entry-sure">
                  Remove it? <button type="button" class="danger" onClick={() => remove(e.id)}>Remove</button>
                  <button type="button" onClick={() => doom('')}>Keep</button>
                </span>
              ) : (
                <button type="button" aria-label={`Remove ${e.name || e.id}`} onClick={() => doom(e.id)}>Remove</button>
              )}
            </div>
            {shown === e.id && (
              <div class="entry-addresses">
                {e.whip && <p><button type="button" onClick={() => publish(e.id)}>Publish from this browser</button></p>}
                <PublishAddresses entry={e} />
                {e.playUrl && <Copyable label="Play" hint="once it is live" text={e.playUrl} />}
              </div>
            )}
          </li>
        ))}
      </ul>
      <AddEntry
        added={(e) => {
          setTrouble('');
          show(e.id);
          changed();
        }}
      />
    </section>
  );
}

function AddEntry({ added }: { added(e: Entry): void }) {
  const [trouble, setTrouble] = useState('');
  const [busy, setBusy] = useState(false);
  const [profiles, setProfiles] = useState<Profile[]>([]);
  useEffect(() => void getProfiles().then(setProfiles, () => undefined), []);

  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const field = (name: string) => String(new FormData(form).get(name) ?? '').trim();
    setBusy(true);
    try {
      added(await addEntry({
        name: field('name'), token: field('token'), dvr: Number(field('dvr') || 0), profile: Number(field('profile') || 0),
        record: field('record') as NewEntry['record'], srtPassphrase: field('srtPassphrase'),
      }));
      form.reset();
      setTrouble('');
    } catch (e) {
      setTrouble((e as Error).message);
    }
    setBusy(false);
  };

  return (
    <form class="entry-add" onSubmit={submit}>
      <label>Name <input name="name" required maxLength={100} placeholder="Town hall" autocomplete="off" /></label>
      <label>Token <input name="token" maxLength={64} placeholder="drawn when empty" autocomplete="off" /></label>
      <label>DVR, minutes <input name="dvr" type="number" min={0} max={10080} placeholder="none" /></label>
      <label>
        Profile
        <select name="profile">
          {!profiles.some((p) => p.default) && <option value="">the default</option>}
          {profiles.map((p) => <option key={p.id} value={p.id} selected={p.default}>{p.name}</option>)}
        </select>
      </label>
      <label>
        Recording
        <select name="record">
          <option value="append">to one entry</option>
          <option value="session">an entry each time</option>
          <option value="none">none</option>
        </select>
      </label>
      <label>SRT passphrase <input name="srtPassphrase" minLength={10} maxLength={79} pattern="[0-9A-Za-z._~\-]*" title="letters, digits and . _ ~ -" placeholder="none" autocomplete="off" /></label>
      <button type="submit" disabled={busy}>Add entry</button>
      {trouble && <p class="banner" role="alert">{trouble}</p>}
    </form>
  );
}
