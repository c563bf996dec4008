// Plays one HLS address in a video element: with hls.js where it works, else with the
// browser's own player.
import Hls from 'hls.js';

const retryAfter = 2000;

export interface Playback {
  stop(): void;
  hls: Hls | null;
}

/** Starts playing src; trouble is told in words, and '' when it is over. */
export function play(video: HTMLVideoElement, src: string, tell: (trouble: string) => void): Playback {
  if (Hls.isSupported()) return playWithHls(video, src, tell);
  if (video.canPlayType('application/vnd.apple.mpegurl')) return playNatively(video, src, tell);
  tell('This browser plays no HLS.');
  return { stop() {}, hls: null };
}

function playWithHls(video: HTMLVideoElement, src: string, tell: (trouble: string) => void): Playback {
  const hls = new Hls({ workerPath: '/hls.worker.js' });
  let timer = 0;
  hls.on(Hls.Events.ERROR, (_, error) => {
    if (!error.fatal) return;
    if (error.type === Hls.ErrorTypes.MEDIA_ERROR) {
      tell('The browser could not decode a piece; going on.');
      hls.recoverMediaError();
      return;
    }
    const status = error.response?.code;
    tell(status === 404 ? 'Nothing to play at this address yet; trying again.' : `Can't load the stream (${error.details}); trying again.`);
    window.clearTimeout(timer);
    timer = window.setTimeout(() => hls.loadSource(src), retryAfter);
  });
  hls.on(Hls.Events.FRAG_BUFFERED, () => tell(''));
  hls.loadSource(src);
  hls.attachMedia(video);
  start(video);
  return {
    hls,
    stop() {
      window.clearTimeout(timer);
      hls.destroy();
    },
  };
}

function playNatively(video: HTMLVideoElement, src: string, tell: (trouble: string) => void): Playback {
  let timer = 0;
  const failed = () => {
    tell("Can't load the stream; trying again.");
    window.clearTimeout(timer);
    timer = window.setTimeout(() => {
      video.src = src;
      start(video);
    }, retryAfter);
  };
  const playing = () => tell('');
  video.addEventListener('error', failed);
  video.addEventListener('playing', playing);
  video.src = src;
  start(video);
  return {
    hls: null,
    stop() {
      window.clearTimeout(timer);
      video.removeEventListener('error', failed);
      video.removeEventListener('playing', playing);
      video.removeAttribute('src');
      video.load();
    },
  };
}

function start(video: HTMLVideoElement) {
  // Browsers may refuse to start by themselves; then the viewer presses play.
  video.play().catch(() => undefined);
}

/** Seconds of media ahead of the playhead. */
export function bufferAhead(video: HTMLVideoElement): number {
  const { buffered, currentTime } = video;
  for (let i = 0; i < buffered.length; i++) {
    if (buffered.start(i) <= currentTime + 0.1 && currentTime <= buffered.end(i)) return buffered.end(i) - currentTime;
  }
  return 0;
}
