// Numbers as people read them.

export function bitrate(bps: number): string {
  if (bps <= 0) return '–';
  if (bps < 1_000_000) return `${Math.round(bps / 1000)} kbit/s`;
  return `${(bps / 1_000_000).toFixed(bps < 10_000_000 ? 2 : 1)} Mbit/s`;
}

export function frameRate(fps?: number): string {
  if (!fps) return '–';
  const text = fps.toFixed(2);
  return text.endsWith('.00') ? String(Math.round(fps)) : text;
}

export function clock(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  const two = (n: number) => String(n).padStart(2, '0');
  const hours = Math.floor(s / 3600);
  const rest = `${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

export function size(width?: number, height?: number): string {
  return width && height ? `${width}×${height}` : '–';
}

export function bytes(n: number): string {
  if (n <= 0) return '–';
  if (n < 1 << 20) return `${Math.ceil(n / 1024)} KiB`;
  return n < 1 << 30 ? `${Math.round(n / (1 << 20))} MiB` : `${(n / (1 << 30)).toFixed(1)} GiB`;
}

export function milliseconds(seconds: number): string {
  return seconds > 0 ? `${(seconds * 1000).toFixed(1)} ms` : '–';
}
