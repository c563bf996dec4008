import { useEffect, useRef, useState } from 'preact/hooks';
import type { Stream } from './api';
import { size } from './format';
import { bufferAhead, play } from './playback';

interface Numbers {
  picture: string;
  ahead: string;
  delay: string;
  dropped: string;
}

/** Plays the chosen stream and shows what the browser makes of it. */
export function Player({ stream }: { stream: Stream }) {
  const video = useRef<HTMLVideoElement>(null);
  const [trouble, setTrouble] = useState('');
  const [numbers, setNumbers] = useState<Numbers | null>(null);
  const src = stream.state === 'starting' ? '' : stream.playUrl ?? '';

  useEffect(() => {
    const element = video.current;
    setTrouble('');
    setNumbers(null);
    if (!element || !src) return;
    const playback = play(element, src, setTrouble);
    const timer = window.setInterval(() => {
      const quality = element.getVideoPlaybackQuality();
      const latency = playback.hls?.latency;
      setNumbers({
        picture: size(element.videoWidth, element.videoHeight),
        ahead: `${bufferAhead(element).toFixed(1)} s`,
        delay: latency ? `${latency.toFixed(1)} s` : '–',
        dropped: `${quality.droppedVideoFrames} of ${quality.totalVideoFrames}`,
      });
    }, 1000);
    return () => {
      window.clearInterval(timer);
      playback.stop();
    };
  }, [src]);

  return (
    <section class="card player" aria-label="Player">
      <div class="screen">
        <video ref={video} controls muted playsInline aria-label={`Playing ${stream.name}`} />
        {(trouble || !src) && <p class="overlay" role="status">{trouble || waiting(stream)}</p>}
      </div>
      <dl class="numbers">
        <Fact name="Picture" value={numbers?.picture} />
        <Fact name="Buffer" value={numbers?.ahead} />
        <Fact name="Behind live" value={numbers?.delay} />
        <Fact name="Dropped frames" value={numbers?.dropped} />
      </dl>
    </section>
  );
}

function waiting(stream: Stream): string {
  if (stream.state === 'starting') return 'The first segment is on its way.';
  return 'Playback is switched off here: http.listen is empty.';
}

function Fact({ name, value }: { name: string; value?: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value ?? '–'}</dd>
    </div>
  );
}
