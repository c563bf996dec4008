import { useEffect, useRef, useState } from 'preact/hooks';
import { capture, mixed, release, type Wish } from './capture';
import { meter, type Numbers } from './numbers';
import { Publication, type Phase, type Target } from './whip';

const numbersEvery = 1000;

/** What a page that publishes shows and can do. */
export interface Publishing {
  phase: 'idle' | Phase;
  reason: string; // of a failure, or of what is being mended
  stream: MediaStream | null; // what would be, or is, sent
  numbers: Numbers | null;
  preview(wish: Wish): Promise<void>;
  close(): void;
  begin(target: Target, wish: Wish): Promise<void>;
  stop(): void;
}

/** Captures and publishes from this page. */
export function usePublication(): Publishing {
  const [phase, setPhase] = useState<Publishing['phase']>('idle');
  const [reason, setReason] = useState('');
  const [stream, setStream] = useState<MediaStream | null>(null);
  const [numbers, setNumbers] = useState<Numbers | null>(null);
  const publication = useRef<Publication | null>(null);
  const captured = useRef<MediaStream | null>(null);

  const hold = (next: MediaStream | null) => {
    captured.current = next;
    setStream(next);
    next?.getTracks().forEach((track) => {
      // Fires when the device goes or sharing is stopped in the browser's own bar, not by track.stop().
      track.onended = () => {
        if (captured.current === next) ended(next, track);
      };
    });
  };

  const ended = (of: MediaStream, track: MediaStreamTrack) => {
    const shared = track.kind === 'video' && track.getSettings().displaySurface !== undefined;
    if (shared || of.getTracks().every((t) => t.readyState === 'ended')) {
      stop();
      close();
    }
    setReason(shared ? 'Sharing was stopped.' : track.kind === 'video' ? 'The camera is gone: choose another.' : 'The microphone is gone: choose another.');
  };

  const preview = async (wish: Wish) => {
    setReason('');
    try {
      const next = await capture(wish);
      const live = publication.current;
      if (live) await live.replace(next.getTracks(), wish.quality.bitrate);
      release(captured.current);
      hold(next);
    } catch (e) {
      setReason((e as Error).message);
    }
  };

  const close = () => {
    release(captured.current);
    hold(null);
    setPhase('idle');
    setReason('');
    setNumbers(null);
  };

  const begin = async (target: Target, wish: Wish) => {
    const blocked = mixed(target.url);
    if (blocked || !captured.current) {
      setReason(blocked);
      return;
    }
    const mine = new Publication(target, captured.current.getTracks(), wish.quality.bitrate, (next, why) => {
      if (publication.current !== mine && next !== 'connecting') return;
      if (next === 'failed' || next === 'ended') publication.current = null;
      setPhase(next === 'ended' ? 'idle' : next);
      setReason(why);
    });
    publication.current = mine;
    setNumbers(null);
    await mine.start();
  };

  const stop = () => {
    publication.current?.stop();
    setNumbers(null);
  };

  useEffect(() => {
    const read = meter();
    const timer = window.setInterval(() => {
      const pc = publication.current?.pc;
      if (pc && pc.connectionState !== 'closed') read(pc).then(setNumbers, () => undefined);
    }, numbersEvery);
    const leave = () => publication.current?.abandon();
    const ask = (event: BeforeUnloadEvent) => {
      if (publication.current) event.preventDefault(); // the browser asks whether to leave
    };
    window.addEventListener('pagehide', leave);
    window.addEventListener('beforeunload', ask);
    return () => {
      window.clearInterval(timer);
      window.removeEventListener('pagehide', leave);
      window.removeEventListener('beforeunload', ask);
      leave();
      release(captured.current);
    };
  }, []);

  return { phase, reason, stream, numbers, preview, close, begin, stop };
}
