import type { Stream } from './api';
import { bitrate, clock, frameRate, size } from './format';

const stateText: Record<Stream['state'], string> = {
  starting: 'Starting',
  live: 'Live',
  standby: 'Standby',
  stalled: 'Stalled',
  silent: 'No data',
  gone: 'Waiting',
};

const stateHint: Record<Stream['state'], string> = {
  starting: 'The encoder is connected; the first segment is on its way.',
  live: 'Viewers can play it.',
  standby: 'It arrives; viewers see the other encoder.',
  stalled: 'It arrives, but nothing new reaches viewers: does a worker own the entry?',
  silent: 'The connection is open, but nothing comes.',
  gone: 'The encoder is away; the broadcast waits for it.',
};

interface Props {
  streams: Stream[];
  chosen: string;
  /** Seconds since the list came, for the clocks. */
  age: number;
  choose(feed: string): void;
}

/** The live streams, one row a feed. Arrow keys move the choice. */
export function StreamTable({ streams, chosen, age, choose }: Props) {
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (!step) return;
    event.preventDefault();
    const at = streams.findIndex((s) => s.feed === chosen);
    const next = streams[Math.min(streams.length - 1, Math.max(0, at + step))];
    if (!next) return;
    choose(next.feed);
    document.getElementById(`feed-${next.feed}`)?.focus();
  };
  return (
    <table class="streams" onKeyDown={onKeyDown}>
      <caption class="sr-only">Live streams</caption>
      <thead>
        <tr>
          <th scope="col">State</th>
          <th scope="col">Stream</th>
          <th scope="col">Video</th>
          <th scope="col" class="num">Size</th>
          <th scope="col" class="num">Frames/s</th>
          <th scope="col">Audio</th>
          <th scope="col" class="num">Bitrate</th>
          <th scope="col" class="num" title="How much of the last ten seconds it brought media for">Health</th>
          <th scope="col" class="num">On air</th>
          <th scope="col">Encoder</th>
        </tr>
      </thead>
      <tbody>
        {streams.map((s) => (
          <Row key={s.feed} stream={s} age={age} chosen={s.feed === chosen} choose={choose} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ stream: s, age, chosen, choose }: { stream: Stream; age: number; chosen: boolean; choose(feed: string): void }) {
  return (
    <tr class={chosen ? 'chosen' : ''} onClick={() => choose(s.feed)}>
      <td data-label="State">
        <span class={`state ${s.state}`} title={stateHint[s.state]}>{stateText[s.state]}</span>
      </td>
      <td class="name">
        <button type="button" id={`feed-${s.feed}`} aria-pressed={chosen} onClick={() => choose(s.feed)}>{s.name}</button>
        <span class={`tag ${s.index}`}>{s.index}</span>
        {s.pinned && <span class="tag" title="An operator chose this encoder (klive feed pin).">pinned</span>}
      </td>
      <td data-label="Video">{s.video ?? '–'}</td>
      <td data-label="Size" class="num">{size(s.width, s.height)}</td>
      <td data-label="Frames/s" class="num">{frameRate(s.frameRate)}</td>
      <td data-label="Audio">{s.audio ?? '–'}</td>
      <td data-label="Bitrate" class="num">{bitrate(s.bitrate)}</td>
      <td data-label="Health" class="num" title={s.problem}>{s.health === undefined ? '–' : `${s.health} %`}</td>
      <td data-label="On air" class="num">{clock(s.state === "gone" ? s.onAir : s.onAir + age)}</td>
      <td data-label="Encoder" class="encoder">
        <span>{s.encoder || s.protocol.toUpperCase()}</span>
        <small class="muted">{s.encoder ? `${s.protocol.toUpperCase()} · ` : ''}{s.peer}</small>
      </td>
    </tr>
  );
}
