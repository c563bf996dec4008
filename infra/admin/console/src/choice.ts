import type { Stream } from './api';

/**
 * The stream to show: the one that was chosen; or else the one that is shown already, as long as its encoder is there;
 * or else what viewers see, what is on its way to them, and last what has ended.
 */
export function pick(streams: Stream[], chosen: string, shown: string): Stream | undefined {
  const find = (good: (s: Stream) => boolean) => streams.find(good);
  return find((s) => s.feed === chosen)
    ?? find((s) => s.feed === shown && s.state !== 'gone')
    ?? find((s) => s.state === 'live')
    ?? find((s) => s.state !== 'gone')
    ?? streams[0];
}
