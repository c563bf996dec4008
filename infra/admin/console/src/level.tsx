import { useEffect, useRef } from 'preact/hooks';

const floor = -60; // dBFS
const every = 60; // ms

/** How loud a stream's sound is: the peak of the last moments in dB below full scale. */
export function LevelMeter({ track }: { track?: MediaStreamTrack }) {
  const meter = useRef<HTMLMeterElement>(null);
  const text = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (!track) return;
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    void context.resume().catch(() => undefined);
    const samples = new Float32Array(analyser.fftSize);
    let shown = floor;
    const timer = window.setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      let peak = 0;
      for (const s of samples) peak = Math.max(peak, Math.abs(s));
      const level = Math.max(floor, 20 * Math.log10(peak || 1e-9));
      shown = Math.max(level, shown - 1.5); // falls slower than it rises, as meters do
      if (meter.current) meter.current.value = shown;
      if (text.current) text.current.textContent = shown > floor ? `${Math.round(shown) || 0} dB` : 'silent';
    }, every);
    return () => {
      window.clearInterval(timer);
      void context.close().catch(() => undefined);
    };
  }, [track]);
  return (
    <div class="level">
      <span class="muted">Sound</span>
      <meter ref={meter} min={floor} max={0} low={-40} high={-6} optimum={-20} value={floor} aria-label="Sound level" />
      <span ref={text} class="num">{track ? 'silent' : 'none'}</span>
    </div>
  );
}
