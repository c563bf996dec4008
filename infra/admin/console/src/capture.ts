// Camera, microphone and screen of the browser, and in plain words why they can't be had.

export type Picture = 'camera' | 'screen' | 'none';

export const noSound = 'none';
export const screenSound = 'screen';

export interface Wish {
  picture: Picture;
  camera: string; // a device's id; empty for the browser's choice
  sound: string; // a microphone's id, empty for the browser's choice, noSound or screenSound
  quality: Quality;
}

export interface Quality {
  name: string;
  width: number;
  height: number;
  bitrate: number; // of the picture at most, bit/s
}

export const qualities: Quality[] = [
  { name: '1080p, 4.5 Mbit/s', width: 1920, height: 1080, bitrate: 4_500_000 },
  { name: '720p, 2.5 Mbit/s', width: 1280, height: 720, bitrate: 2_500_000 },
  { name: '360p, 0.8 Mbit/s', width: 640, height: 360, bitrate: 800_000 },
];
export const usualQuality = qualities[1]!;

const frameRate = 30;

/** Why this page can't capture anything; empty when it can. */
export function obstacle(): string {
  if (typeof RTCPeerConnection === 'undefined') return 'This browser has no WebRTC.';
  if (!window.isSecureContext || !navigator.mediaDevices) {
    return `Browsers give camera, microphone and screen only to pages that came over https, or from this machine itself. This one came from ${location.origin}: open the console over https, or through a tunnel at http://localhost.`;
  }
  return '';
}

/** The address that a text is, if it is a whole one that a page can post to. */
function address(text: string): URL | undefined {
  try {
    const url = new URL(text);
    return /^https?:$/.test(url.protocol) && url.hostname ? url : undefined;
  } catch {
    return undefined;
  }
}

/** Why a page can't publish to an address; empty when it may. */
export function mixed(url: string): string {
  const there = address(url);
  if (!there) return `“${url}” is no address: a WHIP endpoint looks like https://live.example.com/whip/0_rkij47dr_1?p=102&i=0.`;
  const local = /^(localhost|127\.[\d.]+|\[::1\])$/.test(there.hostname);
  if (location.protocol === 'https:' && there.protocol === 'http:' && !local) {
    return `This page came over https, and browsers let it send nothing to ${there.origin}, which is not encrypted: set https.listen, or whip.publicUrl to an address with https://.`;
  }
  return '';
}

/** Asks the browser for what is wished. Errors say what to do. */
export async function capture(wish: Wish): Promise<MediaStream> {
  const blocked = obstacle();
  if (blocked) throw new Error(blocked);
  const { width, height } = wish.quality;
  const size = { width: { ideal: width }, height: { ideal: height }, frameRate: { ideal: frameRate } };
  const stream = new MediaStream();
  try {
    if (wish.picture === 'screen') {
      const screen = await navigator.mediaDevices.getDisplayMedia({
        video: { width: { max: width }, height: { max: height }, frameRate: { max: frameRate } }, audio: wish.sound === screenSound,
      });
      screen.getTracks().forEach((t) => stream.addTrack(t));
      screen.getVideoTracks().forEach((t) => { t.contentHint = 'detail'; });
      if (wish.sound === screenSound && screen.getAudioTracks().length === 0) {
        throw new Error('What you chose to share has no sound, or the browser does not share it: choose a tab, or a microphone.');
      }
    }
    const microphone = wish.sound !== noSound && wish.sound !== screenSound;
    const camera = wish.picture === 'camera';
    if (camera || microphone) {
      const devices = await navigator.mediaDevices.getUserMedia({
        video: camera && { ...size, ...chosen(wish.camera) },
        audio: microphone && { ...chosen(wish.sound), channelCount: { ideal: 2 } },
      });
      devices.getTracks().forEach((t) => stream.addTrack(t));
    }
    if (stream.getTracks().length === 0) throw new Error('Choose a picture or a sound.');
    return stream;
  } catch (e) {
    release(stream);
    throw new Error(await reason(e as Error, wish));
  }
}

const chosen = (id: string) => (id ? { deviceId: { exact: id } } : {});

export function release(stream: MediaStream | null) {
  stream?.getTracks().forEach((t) => t.stop());
}

/** The devices of a kind. Their names are there once the browser has allowed one. */
export async function devices(kind: 'videoinput' | 'audioinput'): Promise<MediaDeviceInfo[]> {
  const list = await navigator.mediaDevices?.enumerateDevices().catch(() => []);
  return (list ?? []).filter((d) => d.kind === kind && d.deviceId !== '');
}

/** The name of a device, for people. */
export const deviceName = (d: MediaDeviceInfo, i: number) => d.label || `${d.kind === 'videoinput' ? 'Camera' : 'Microphone'} ${i + 1}`;

async function reason(e: Error, wish: Wish): Promise<string> {
  const wanted = [wish.picture === 'camera' && 'camera', wish.sound !== noSound && wish.sound !== screenSound && 'microphone'].filter(Boolean).join(' and ');
  switch (e.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return wish.picture === 'screen' && !wanted
        ? 'Nothing was shared: the browser or the system did not allow it, or you cancelled.'
        : `The browser does not let this page use ${wanted || 'the screen'}. Allow it in the address bar (and in the system's settings), then try again.`;
    case 'NotFoundError':
      return missing(wish, wanted);
    case 'NotReadableError':
    case 'AbortError':
      return `The ${wanted || 'screen'} can't be read: another program may be using it.`;
    case 'OverconstrainedError':
      return 'The chosen device is gone, or can do nothing like this: choose another.';
  }
  return e.message;
}

async function missing(wish: Wish, wanted: string): Promise<string> {
  const list = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  const camera = wish.picture === 'camera' && !list.some((d) => d.kind === 'videoinput');
  const microphone = wanted.includes('microphone') && !list.some((d) => d.kind === 'audioinput');
  if (camera && microphone) return 'There is neither a camera nor a microphone here.';
  if (camera) return 'There is no camera here: choose the screen, or no picture.';
  if (microphone) return 'There is no microphone here: choose no sound.';
  return `The browser finds no ${wanted || 'screen'} here.`;
}
