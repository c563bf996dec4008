import { useEffect, useState } from 'preact/hooks';
import { getRecordings, orderRecording, type Recording, type Recordings, type Vod } from './api';
import { clock } from './format';

const pollEvery = 5000;
const shownFiles = 50;

/** Recorded entries to watch, and the files on their way, those that need somebody first. */
export function RecordingSection() {
  const [list, setList] = useState<Recordings | null>(null);
  const [watched, watch] = useState('');
  const [trouble, setTrouble] = useState('');
  const [split, setSplit] = useState('');

  const load = () => getRecordings().then(setList, () => undefined);
  useEffect(() => {
    void load();
    const timer = window.setInterval(() => document.hidden || void load(), pollEvery);
    return () => window.clearInterval(timer);
  }, []);
  const order = async (entry: string, kind: 'retry' | 'skip' | 'split', file = '') => {
    try {
      await orderRecording(entry, kind, file);
      setTrouble('');
      setSplit(kind === 'split' ? entry : '');
    } catch (e) {
      setTrouble((e as Error).message);
    }
    void load();
  };

  if (!list || (list.recordings.length === 0 && list.vods.length === 0 && list.running.length === 0)) return null;
  const parked = list.recordings.filter((r) => r.state === 'parked' || r.state === 'damaged').length;
  const files = list.recordings.slice(0, Math.max(shownFiles, parked));
  return (
    <section class="card entries recordings" aria-label="Recordings">
      <h2>Recordings</h2>
      {trouble && <p class="banner" role="alert">{trouble}</p>}
      {parked > 0 && <p class="banner" role="alert">{parked === 1 ? 'One file waits' : `${parked} files wait`} for your decision.</p>}
      {list.running.length > 0 && (
        <ul class="entry-list" aria-label="Being recorded">
          {list.running.map((entry) => (
            <li key={entry} class="entry-row">
              <span class="running">{entry} <span class="muted">is being recorded</span></span>
              {split === entry && <span class="muted" role="status">The next file begins within seconds.</span>}
              <button type="button" aria-label={`Split the recording of ${entry}`} onClick={() => order(entry, 'split')}>Split</button>
            </li>
          ))}
        </ul>
      )}
      {list.vods.length > 0 && <VodTable vods={list.vods} watched={watched} watch={watch} />}
      {watched && <video class="vod" src={watched} controls autoplay />}
      {files.length > 0 && <FileTable files={files} order={(r, kind) => order(r.entry, kind, r.file)} />}
      {(list.more || files.length < list.recordings.length) && <p class="muted">Older files are not shown; see klive recording list.</p>}
    </section>
  );
}

function VodTable({ vods, watched, watch }: { vods: Vod[]; watched: string; watch(path: string): void }) {
  return (
    <table class="plain">
      <thead><tr><th scope="col">Recorded entry</th><th scope="col">Of</th><th scope="col">Since</th><th scope="col" class="num">Length</th><th scope="col">Watch</th></tr></thead>
      <tbody>
        {vods.map((v) => (
          <tr key={v.id}>
            <td>{v.name} <span class="muted">{v.id}</span></td>
            <td>{v.entry}</td>
            <td>{when(v.created)}</td>
            <td class="num">{clock(v.duration)}</td>
            <td>
              {v.flavors.map((f) => (
                <button key={f.path} type="button" aria-pressed={watched === f.path} onClick={() => watch(watched === f.path ? '' : f.path)}>
                  {`Flavor ${f.params}`}
                </button>
              ))}
              {v.flavors.length === 0 && <span class="muted">nothing yet</span>}
              {v.problem && <small class="muted reason"> {v.problem}</small>}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function FileTable({ files, order }: { files: Recording[]; order(r: Recording, kind: 'retry' | 'skip'): void }) {
  return (
    <table class="plain">
      <thead><tr><th scope="col">File</th><th scope="col">Entry</th><th scope="col">From</th><th scope="col" class="num">Length</th><th scope="col" class="num">Size</th><th scope="col">State</th></tr></thead>
      <tbody>
        {files.map((r) => (
          <tr key={r.entry + r.file}>
            <td>{r.file}</td>
            <td>{r.entry}</td>
            <td>{r.file ? when(r.start) : ''}</td>
            <td class="num">{clock(r.duration)}</td>
            <td class="num">{(r.bytes / 1e6).toFixed(1)} MB</td>
            <td>
              {r.state}{r.lost > 0 && `, ${r.lost} segments missing`}
              {r.reason && <small class="muted reason"> {r.reason}</small>}
              {r.state === 'parked' && (
                <>
                  {' '}<button type="button" onClick={() => order(r, 'retry')}>Retry</button>
                  <button type="button" onClick={() => order(r, 'skip')}>Skip</button>
                </>
              )}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const when = (time: string) => new Date(time).toLocaleString(undefined, { dateStyle: 'short', timeStyle: 'medium' });
