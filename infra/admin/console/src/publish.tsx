import { useEffect, useRef, useState } from 'preact/hooks';
import type { Entry } from './api';
import { deviceName, devices, noSound, obstacle, qualities, screenSound, usualQuality, type Picture, type Quality, type Wish } from './capture';
import { bitrate } from './format';
import { LevelMeter } from './level';
import { usePublication, type Publishing } from './usepublication';
import type { Target } from './whip';

interface Props {
  entries: Entry[]; // those that can be published to by WHIP
  whip: string; // where any other stream name may be published
  /** The entry that is asked for; empty while the card is closed. */
  asked: string;
  ask(entry: string): void;
}

const other = 'other';

/** Publishes this browser's camera, microphone or screen to an entry. */
export function PublishHere({ entries, whip, asked, ask }: Props) {
  const publishing = usePublication();
  const close = () => {
    publishing.stop();
    publishing.close();
    ask('');
  };
  const section = useRef<HTMLElement>(null);
  useEffect(() => {
    if (asked) section.current?.scrollIntoView();
  }, [asked]);
  return (
    <section ref={section} class="card publish" aria-label="Publish from this browser">
      <div class="publish-head">
        <h2>Publish from this browser</h2>
        <button type="button" aria-expanded={asked !== ''} onClick={() => (asked ? close() : ask(entries[0]?.id ?? other))}>
          {asked ? 'Close' : 'Set up'}
        </button>
      </div>
      {asked && <Studio entries={entries} whip={whip} asked={asked} ask={ask} publishing={publishing} />}
    </section>
  );
}

function Studio({ entries, whip, asked, ask, publishing: p }: Props & { publishing: Publishing }) {
  const [typed, type] = useState<Target>({ url: whip, token: '' });
  const [wish, setWish] = useState<Wish>({ picture: 'camera', camera: '', sound: '', quality: usualQuality });
  const entry = entries.find((e) => e.id === asked);
  const target: Target = entry ? { url: entry.whip ?? '', token: entry.token ?? '' } : typed;
  const busy = p.phase === 'connecting' || p.phase === 'live' || p.phase === 'restoring';

  // A device that is changed while it is in use is changed at once.
  const change = (part: Partial<Wish>) => {
    const next = { ...wish, ...part };
    setWish(next);
    if (p.stream) void p.preview(next);
  };

  return (
    <div class="studio">
      <div class="studio-picture">
        <Preview stream={p.stream} />
        <LevelMeter track={p.stream?.getAudioTracks()[0]} />
      </div>
      <div class="studio-settings">
        <label>
          Entry
          <select value={entry ? asked : other} disabled={busy} onChange={(e) => ask(e.currentTarget.value)}>
            {entries.map((e) => <option key={e.id} value={e.id}>{e.name ? `${e.name} (${e.id})` : e.id}</option>)}
            <option value={other}>Another address…</option>
          </select>
        </label>
        {!entry && <TypedTarget target={typed} type={type} disabled={busy} />}
        <Devices wish={wish} change={change} busy={busy} stream={p.stream} />
        <Buttons publishing={p} wish={wish} target={target} busy={busy} />
        {(p.reason || obstacle()) && <p class="banner" role="alert">{p.reason || obstacle()}</p>}
        <State publishing={p} />
      </div>
    </div>
  );
}

function TypedTarget({ target, type, disabled }: { target: Target; type(t: Target): void; disabled: boolean }) {
  return (
    <>
      <label>Address <input name="url" value={target.url} disabled={disabled} placeholder="https://…/whip/0_rkij47dr_1?p=102&i=0" onInput={(e) => type({ ...target, url: e.currentTarget.value.trim() })} /></label>
      <label>Token <input name="token" value={target.token} disabled={disabled} autocomplete="off" onInput={(e) => type({ ...target, token: e.currentTarget.value.trim() })} /></label>
    </>
  );
}

function Devices({ wish, change, busy, stream }: { wish: Wish; change(part: Partial<Wish>): void; busy: boolean; stream: MediaStream | null }) {
  const [cameras, setCameras] = useState<MediaDeviceInfo[]>([]);
  const [microphones, setMicrophones] = useState<MediaDeviceInfo[]>([]);
  useEffect(() => {
    const look = () => {
      void devices('videoinput').then(setCameras);
      void devices('audioinput').then(setMicrophones);
    };
    look();
    navigator.mediaDevices?.addEventListener('devicechange', look);
    return () => navigator.mediaDevices?.removeEventListener('devicechange', look);
  }, [stream]); // names are told once there is a stream
  const withPicture = wish.picture !== 'none';
  const silent = wish.sound === noSound;
  const choosePicture = (picture: Picture) => change({ picture, sound: picture !== 'screen' && wish.sound === screenSound ? '' : wish.sound });
  return (
    <>
      <label>
        Picture
        <select name="picture" value={wish.picture} disabled={busy} onChange={(e) => choosePicture(e.currentTarget.value as Picture)}>
          <option value="camera">Camera</option>
          <option value="screen">Screen, window or tab</option>
          <option value="none" disabled={silent}>No picture</option>
        </select>
      </label>
      {wish.picture === 'camera' && (
        <label>
          Camera
          <select name="camera" value={wish.camera} onChange={(e) => change({ camera: e.currentTarget.value })}>
            <option value="">The browser's choice</option>
            {cameras.map((d, i) => <option key={d.deviceId} value={d.deviceId}>{deviceName(d, i)}</option>)}
          </select>
        </label>
      )}
      <label>
        Sound
        <select name="sound" value={wish.sound} disabled={busy && (silent || wish.sound === screenSound)} onChange={(e) => change({ sound: e.currentTarget.value })}>
          <option value="">Microphone, the browser's choice</option>
          {microphones.filter((d) => d.deviceId !== 'default').map((d, i) => <option key={d.deviceId} value={d.deviceId}>{deviceName(d, i)}</option>)}
          {wish.picture === 'screen' && <option value={screenSound} disabled={busy}>Sound of what is shared</option>}
          <option value={noSound} disabled={busy || !withPicture}>No sound</option>
        </select>
      </label>
      {withPicture && (
        <label>
          Quality
          <select name="quality" value={wish.quality.name} disabled={busy && wish.picture === 'screen'} onChange={(e) => change({ quality: byName(e.currentTarget.value) })}>
            {qualities.map((q) => <option key={q.name}>{q.name}</option>)}
          </select>
        </label>
      )}
    </>
  );
}

const byName = (name: string): Quality => qualities.find((q) => q.name === name) ?? usualQuality;

function Buttons({ publishing: p, wish, target, busy }: { publishing: Publishing; wish: Wish; target: Target; busy: boolean }) {
  const [asking, setAsking] = useState(false);
  const preview = async () => {
    setAsking(true);
    await p.preview(wish);
    setAsking(false);
  };
  if (!p.stream && !busy) {
    return (
      <p class="studio-buttons">
        <button type="button" class="go" disabled={asking || obstacle() !== ''} onClick={preview}>{asking ? 'Asking the browser…' : 'Show preview'}</button>
      </p>
    );
  }
  return (
    <p class="studio-buttons">
      {busy ? (
        <button type="button" class="danger" onClick={p.stop}>Stop publishing</button>
      ) : (
        <button type="button" class="go" disabled={!target.url} onClick={() => p.begin(target, wish)}>Publish</button>
      )}
      <Mute stream={p.stream} kind="video" name="picture" />
      <Mute stream={p.stream} kind="audio" name="sound" />
    </p>
  );
}

/** A switch that sends black or silence in a track's place. */
function Mute({ stream, kind, name }: { stream: MediaStream | null; kind: 'video' | 'audio'; name: string }) {
  const [muted, mute] = useState(false);
  const tracks = kind === 'video' ? stream?.getVideoTracks() : stream?.getAudioTracks();
  useEffect(() => {
    tracks?.forEach((t) => { t.enabled = !muted; });
  }, [stream, muted]);
  if (!tracks?.length) return null;
  return <button type="button" aria-pressed={muted} onClick={() => mute(!muted)}>{muted ? `Send ${name} again` : `Mute ${name}`}</button>;
}

function Preview({ stream }: { stream: MediaStream | null }) {
  const video = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (video.current) video.current.srcObject = stream;
  }, [stream]);
  const picture = (stream?.getVideoTracks().length ?? 0) > 0;
  return (
    <div class="screen">
      <video ref={video} muted autoplay playsInline aria-label="Preview" />
      {!picture && <p class="overlay">{stream ? 'Sound alone' : 'No preview yet'}</p>}
    </div>
  );
}

const phaseText: Record<Publishing['phase'], string> = {
  idle: 'Not published',
  connecting: 'Connecting',
  live: 'Published',
  restoring: 'Reconnecting',
  ended: 'Not published',
  failed: 'Failed',
};

function State({ publishing: { phase, numbers, stream } }: { publishing: Publishing }) {
  return (
    <>
      <dl class="studio-numbers">
        <div><dt>State</dt><dd><span class={`state publish-${phase}`} role="status">{phaseText[phase]}</span></dd></div>
        <Row name="Bitrate" value={numbers ? bitrate(numbers.bitrate) : '–'} />
        <Row name="Picture" value={numbers?.picture} />
        <Row name="Codecs" value={numbers?.codecs} />
        <Row name="Path" value={numbers?.path} />
      </dl>
      {phase === 'live' && numbers?.limit && stream?.getVideoTracks()[0]?.enabled && <p class="muted">{numbers.limit}</p>}
    </>
  );
}

function Row({ name, value }: { name: string; value?: string }) {
  return <div><dt>{name}</dt><dd class="num">{value || '–'}</dd></div>;
}
