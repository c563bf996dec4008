// The console's view of the JSON API under /v1.

export type State = 'starting' | 'live' | 'standby' | 'silent' | 'gone';

export interface Stream {
  entry: string;
  feed: string;
  name: string;
  index: 'primary' | 'backup';
  state: State;
  video?: string;
  audio?: string;
  width?: number;
  height?: number;
  frameRate?: number;
  bitrate: number;
  frames: number;
  bytes: number;
  opened: string;
  onAir: number;
  protocol: string;
  encoder?: string;
  peer: string;
  gateway?: string;
  playUrl?: string;
}

export interface Entry {
  id: string;
  name: string;
  server: string;
  backup: string;
  key: string;
  ffmpeg: string;
  playUrl?: string;
}

export interface Server {
  version: string;
  rtmp: string;
  rtmps: string;
  play: string;
}

async function get<T>(path: string): Promise<T> {
  const response = await fetch(path, { headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(10_000) });
  if (response.status === 401) {
    location.reload(); // the login page comes in this page's place
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new Error(problem?.detail ?? `klive answered ${response.status}`);
  }
  return (await response.json()) as T;
}

export const getStreams = async () => (await get<{ streams: Stream[] }>('/v1/streams')).streams;
export const getEntries = async () => (await get<{ entries: Entry[] }>('/v1/entries')).entries;
export const getServer = () => get<Server>('/v1/server');
