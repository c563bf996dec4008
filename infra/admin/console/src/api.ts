// The console's view of the JSON API under /v1.

export type State = 'starting' | 'live' | 'standby' | 'stalled' | 'silent' | 'gone';

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
  /** How much of the last ten seconds it brought media for, less what viewers did not get of it, 0 to 100. */
  health?: number;
  /** What viewers do not get of it, in words. */
  problem?: string;
  /** An operator prefers it to the entry's other encoder. */
  pinned?: boolean;
  link?: Link;
  playUrl?: string;
}

/** How a connection does that may lose packets. Counts are since it opened. */
export interface Link {
  rtt: number; // ms
  latency: number; // ms
  received: number;
  lost: number;
  retransmitted: number;
  belated: number;
  dropped: number;
  encrypted: boolean;
  damaged: number;
  plis?: number; // requests for keyframes
}

export interface Entry {
  id: string;
  name?: string;
  // The addresses are there for entries of klive's own control plane.
  server?: string;
  backup?: string;
  key?: string;
  ffmpeg?: string;
  rtmps?: string;
  srt?: string;
  push?: string;
  whip?: string;
  token?: string; // what WHIP publishers send as bearer
  playUrl?: string;
  live?: Live;
}

export type Health = 'starting' | 'live' | 'waiting' | 'held' | 'behind' | 'gaps' | 'orphan' | 'damaged' | 'unknown';

/** An entry that is on the air. */
export interface Live {
  owner?: string;
  epoch?: number;
  since?: string;
  movingTo?: string;
  feeds: string[];
  lastSegment?: string;
  lastSeq?: number;
  lag: number; // seconds
  pending: number;
  health: Health;
  text?: string;
}

/** A process of the deployment. */
export interface Node {
  name: string;
  self?: boolean;
  roles: string[];
  version: string;
  address?: string;
  ready: boolean;
  why?: string; // it is not ready, or takes no new streams
  draining?: boolean;
  owned: number;
  feeds: number;
  spoolBytes: number;
  spoolOldest?: string;
  transcodeAway?: string; // why it takes no transcode jobs
  busRtt: number; // seconds
  heard: string;
}

export interface Server {
  version: string;
  rtmp: string;
  rtmps: string;
  srt: string;
  push: string;
  whip: string;
  play: string;
}

/** A recorded file on its way to Kaltura. */
export interface Recording {
  entry: string;
  file: string;
  rendition: string;
  start: string;
  duration: number; // seconds
  last: boolean;
  state: 'planned' | 'uploaded' | 'appending' | 'confirmed' | 'parked' | 'skipped' | 'damaged';
  reason?: string;
  bytes: number;
  lost: number;
}

/** A recorded entry of klive's own control plane. */
export interface Vod {
  id: string;
  entry: string;
  name: string;
  created: string;
  duration: number; // seconds
  flavors: { params: number; files: number; bytes: number; path: string }[];
  problem?: string; // why recorded files are not in it yet
}

export interface Recordings {
  recordings: Recording[];
  running: string[]; // entries whose broadcast is being recorded
  vods: Vod[];
  more: boolean;
}

/** The entries, and whether they are managed here. */
export interface Entries {
  entries: Entry[];
  managed: boolean;
}

/** What a new entry is made from. */
export interface NewEntry {
  name: string;
  token: string; // empty: drawn
  dvr: number; // minutes; 0 is none
  profile: number; // 0: the default
  record: '' | 'none' | 'append' | 'session'; // empty: the control plane's choice
  srtPassphrase: string; // empty: SRT callers don't encrypt
}

/** A conversion profile that an entry may have. */
export interface Profile {
  id: number;
  name: string;
  default?: boolean;
}

async function ask(path: string, init: RequestInit = {}): Promise<Response> {
  const response = await fetch(path, { ...init, headers: { Accept: 'application/json' }, signal: AbortSignal.timeout(10_000) });
  if (response.status === 401) {
    location.reload(); // the login page comes in this page's place
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => null)) as { detail?: string } | null;
    throw new Error(problem?.detail ?? `klive answered ${response.status}`);
  }
  return response;
}

const get = async <T>(path: string) => (await (await ask(path)).json()) as T;

export const getStreams = async () => (await get<{ streams: Stream[] }>('/v1/streams')).streams;
export const getEntries = () => get<Entries>('/v1/entries');
export const addEntry = async (e: NewEntry) => (await (await ask('/v1/entries', { method: 'POST', body: JSON.stringify(e) })).json()) as Entry;
export const removeEntry = (id: string) => ask(`/v1/entries/${encodeURIComponent(id)}`, { method: 'DELETE' });
export const getProfiles = async () => (await get<{ profiles: Profile[] }>('/v1/profiles')).profiles;
export const getNodes = async () => (await get<{ nodes: Node[] }>('/v1/nodes')).nodes;
export const getRecordings = () => get<Recordings>('/v1/recordings');
export const orderRecording = (entry: string, kind: 'retry' | 'skip' | 'split', file = '') =>
  ask(`/v1/recordings/${encodeURIComponent(entry)}/${kind}`, { method: 'POST', body: JSON.stringify({ file }) });
export const getServer = () => get<Server>('/v1/server');
