// player.html?src=<playlist>: a bare player that counts what happens, for tests and for
// a look at one stream. Add native=1 for the browser's own HLS.
import Hls from 'hls.js';
import { bufferAhead } from './playback';

interface Stats {
  engine: 'hls.js' | 'native' | 'none';
  playing: number; // 'playing' events
  waiting: number; // 'waiting' events after the first 'playing'
  stalled: number;
  ended: number;
  firstPlaying: number | null; // ms since the page began
  errors: string[];
  fatal: string[];
  decoded: number;
  dropped: number;
  currentTime: number;
  buffered: [number, number][];
  ahead: number;
  width: number;
  height: number;
  readyState: number;
  level: number; // that is seen
  loading: number; // that was fetched last
  levels: number;
  latency: number | null;
}

declare global {
  interface Window {
    readonly __stats: Stats;
    // __levels are the renditions that hls.js found; __choose plays one of them, -1 leaves the
    // choice to hls.js.
    readonly __levels: { width: number; height: number; bitrate: number }[];
    __choose(level: number): void;
  }
}

const most = 100; // errors kept
const query = new URLSearchParams(location.search);
const src = query.get('src') ?? '';
const video = document.getElementById('video') as HTMLVideoElement;
const message = document.getElementById('message') as HTMLElement;

const counts = { playing: 0, waiting: 0, stalled: 0, ended: 0, firstPlaying: null as number | null };
const errors: string[] = [];
const fatal: string[] = [];
let hls: Hls | null = null;
let engine: Stats['engine'] = 'none';

function note(list: string[], text: string) {
  if (list.length < most) list.push(`${Math.round(performance.now())}ms ${text}`);
}

video.addEventListener('playing', () => {
  counts.playing++;
  counts.firstPlaying ??= performance.now();
});
video.addEventListener('waiting', () => {
  if (counts.playing > 0) counts.waiting++;
});
video.addEventListener('stalled', () => counts.stalled++);
video.addEventListener('ended', () => counts.ended++);
video.addEventListener('error', () => {
  const text = `media ${video.error?.code}: ${video.error?.message}`;
  note(errors, text);
  note(fatal, text);
});

Object.defineProperty(window, '__stats', {
  get(): Stats {
    const quality = video.getVideoPlaybackQuality();
    const buffered: [number, number][] = [];
    for (let i = 0; i < video.buffered.length; i++) buffered.push([video.buffered.start(i), video.buffered.end(i)]);
    return {
      engine, ...counts, errors: [...errors], fatal: [...fatal],
      decoded: quality.totalVideoFrames, dropped: quality.droppedVideoFrames,
      currentTime: video.currentTime, buffered, ahead: bufferAhead(video),
      width: video.videoWidth, height: video.videoHeight, readyState: video.readyState,
      level: hls?.currentLevel ?? -1, loading: hls?.loadLevel ?? -1, levels: hls?.levels.length ?? 0, latency: hls?.latency ?? null,
    };
  },
});

Object.defineProperty(window, '__levels', {
  get: () => (hls?.levels ?? []).map((l) => ({ width: l.width, height: l.height, bitrate: l.bitrate })),
});
window.__choose = (level) => {
  if (hls) hls.nextLevel = level;
};

function run() {
  if (!/^https?:\/\/|^\//.test(src)) {
    message.textContent = 'Give the playlist: player.html?src=http://host:8080/…/playlist.m3u8';
    return;
  }
  if (query.get('native') !== '1' && Hls.isSupported()) {
    engine = 'hls.js';
    hls = new Hls({ workerPath: '/hls.worker.js' });
    hls.on(Hls.Events.ERROR, (_, e) => {
      const text = `${e.type} ${e.details} ${e.response?.code ?? ''} ${e.error?.message ?? ''}`.trim();
      note(errors, text);
      if (e.fatal) note(fatal, text);
    });
    hls.loadSource(src);
    hls.attachMedia(video);
  } else if (video.canPlayType('application/vnd.apple.mpegurl')) {
    engine = 'native';
    video.src = src;
  } else {
    message.textContent = 'This browser plays no HLS.';
    return;
  }
  video.play().catch((e: Error) => note(errors, `play: ${e.message}`));
}

run();
