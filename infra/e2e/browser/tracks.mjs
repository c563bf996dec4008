// node tracks.mjs ENGINE URL LANGUAGE SCREENSHOT: plays a stream in Chromium with ENGINE (hls.js or
// shaka), listens to the tone of its sound, changes over to the track of LANGUAGE, listens again, and
// waits for captions. Prints one JSON object: {engine, tracks, before, after, cues, captions, stalled,
// advanced, errors}. Tones are in Hz, stalled is how long the picture stood still since the change, in s. The exit code is 1 when it did not play.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { launch } from './chromium.mjs';

const [engine, url, language, shot] = process.argv.slice(2);
const scripts = { 'hls.js': 'node_modules/hls.js/dist/hls.min.js', shaka: 'node_modules/shaka-player/dist/shaka-player.compiled.js' };
const patience = 30_000;

const html = `<!doctype html><title>${engine}</title><body style="background:#222;margin:0">
<video id="v" width="640" height="360"></video><script src="/player.js"></script>`;
const server = createServer((req, res) => {
  const js = req.url === '/player.js';
  res.setHeader('Content-Type', js ? 'text/javascript' : 'text/html');
  res.end(js ? readFileSync(scripts[engine]) : html);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

async function begin({ engine, url }) {
  const video = document.getElementById('v');
  const p = { errors: [], stalled: 0, cues: () => [], captions: () => [] };
  window.__p = p;
  let at = 0;
  let since = 0;
  const look = (now) => {
    if (video.currentTime !== at) since = now;
    else if (now - since > 100) p.stalled = Math.max(p.stalled, (now - since) / 1000);
    at = video.currentTime;
    requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
  const ear = new AudioContext();
  const analyser = ear.createAnalyser();
  analyser.fftSize = 8192;
  ear.createMediaElementSource(video).connect(analyser).connect(ear.destination);
  // The loudest tone, and silence as 0.
  p.tone = () => {
    const bins = new Uint8Array(analyser.frequencyBinCount);
    analyser.getByteFrequencyData(bins);
    const most = bins.reduce((a, v, i) => (v > bins[a] ? i : a), 0);
    return bins[most] < 100 ? 0 : (most * ear.sampleRate) / analyser.fftSize;
  };
  if (engine === 'hls.js') {
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, e) => { if (e.fatal) p.errors.push(`${e.type} ${e.details}`); });
    hls.loadSource(url);
    hls.attachMedia(video);
    p.tracks = () => hls.audioTracks.map((t) => ({ language: t.lang ?? '', name: t.name }));
    p.choose = (language) => { hls.audioTrack = hls.audioTracks.findIndex((t) => t.lang === language); };
    p.captions = () => [...video.textTracks].map((t) => t.label);
    p.cues = () => [...video.textTracks].flatMap((t) => {
      if (t.mode === 'disabled') t.mode = 'showing';
      return [...(t.cues ?? [])].map((c) => c.text);
    });
  } else {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.addEventListener('error', (e) => p.errors.push(`shaka ${e.detail.severity} ${e.detail.code}`));
    p.tracks = () => player.getAudioTracks().map((t) => ({ language: t.language, name: t.label ?? '' }));
    p.choose = (language) => { player.selectAudioTrack(player.getAudioTracks().find((t) => t.language === language)); };
    p.captions = () => player.getTextTracks().map((t) => t.originalTextId ?? t.label ?? '');
    await player.load(url).catch((e) => p.errors.push(`shaka load ${e.code} ${JSON.stringify(e.data).slice(0, 300)}`));
  }
  video.play().catch((e) => p.errors.push(`play: ${e.message}`));
}

const browser = await launch();
const out = { engine, url };
let ok = true;
try {
  const page = await browser.newPage({ viewport: { width: 640, height: 360 } });
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(begin, { engine, url });
  const wait = (f, arg) => page.waitForFunction(f, arg, { timeout: patience, polling: 100 }).then(() => true, () => { ok = false; return false; });
  const steady = async () => {
    // The same tone twice in a row, a moment apart.
    await wait(() => {
      const now = window.__p.tone();
      const same = now > 0 && Math.abs(now - (window.__tone ?? 0)) < 20;
      window.__tone = now;
      return same;
    });
    return page.evaluate(() => window.__tone);
  };
  await wait(() => { const v = document.getElementById('v'); return v.currentTime > 0 && !v.paused && v.readyState >= 3 && v.played.length > 0 && v.played.end(v.played.length - 1) - v.played.start(0) > 0.7; });
  out.before = await steady();
  const from = await page.evaluate((language) => {
    window.__p.stalled = 0;
    window.__p.choose(language);
    return document.getElementById('v').currentTime;
  }, language);
  await wait((before) => { const now = window.__p.tone(); return now > 0 && Math.abs(now - before) > 100; }, out.before);
  out.after = await steady();
  if (engine === 'hls.js') await wait(() => window.__p.cues().length > 0);
  Object.assign(out, await page.evaluate((from) => ({
    tracks: window.__p.tracks(), cues: window.__p.cues(), captions: window.__p.captions(), stalled: window.__p.stalled,
    advanced: document.getElementById('v').currentTime - from, errors: window.__p.errors,
  }), from));
  await page.screenshot({ path: shot });
  console.log(JSON.stringify(out));
} finally {
  await browser.close();
  server.close();
}
process.exitCode = ok && out.errors.length === 0 ? 0 : 1;
