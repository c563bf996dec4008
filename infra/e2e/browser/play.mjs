// node play.mjs ENGINE URL SCREENSHOTS STEP…: plays a stream in Chromium with ENGINE (hls.js,
// shaka or native) and takes the steps: "live", "start", "middle" and "end" of what can be
// seeked, and "through", six seconds from six behind the start on. Prints one JSON object: {engine, steps: [{name, at, advanced, decoded, ranges}], errors}.
// The exit code is 1 when a step did not play.
import { createServer } from 'node:http';
import { readFileSync } from 'node:fs';
import { launch } from './chromium.mjs';

const [engine, url, shots, ...steps] = process.argv.slice(2);
const scripts = { 'hls.js': 'node_modules/hls.js/dist/hls.min.js', shaka: 'node_modules/shaka-player/dist/shaka-player.compiled.js' };
const patience = 30_000;

// The page has an origin of its own, as the pages of customers do.
const html = `<!doctype html><title>${engine}</title><body style="background:#222;margin:0">
<video id="v" muted width="640" height="360"></video>${scripts[engine] ? '<script src="/player.js"></script>' : ''}`;
const server = createServer((req, res) => {
  const js = req.url === '/player.js';
  res.setHeader('Content-Type', js ? 'text/javascript' : 'text/html');
  res.end(js ? readFileSync(scripts[engine]) : html);
});
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));

async function begin({ engine, url }) {
  const video = document.getElementById('v');
  const out = { errors: [] };
  window.__play = out;
  video.addEventListener('error', () => out.errors.push(`media ${video.error?.code} ${video.error?.message}`));
  out.range = () => (video.seekable.length ? [video.seekable.start(0), video.seekable.end(video.seekable.length - 1)] : [0, 0]);
  if (engine === 'hls.js') {
    const hls = new Hls();
    hls.on(Hls.Events.ERROR, (_, e) => { if (e.fatal) out.errors.push(`${e.type} ${e.details} ${e.response?.code ?? ''}`); });
    hls.loadSource(url);
    hls.attachMedia(video);
    out.live = () => hls.liveSyncPosition ?? out.range()[1];
  } else if (engine === 'shaka') {
    shaka.polyfill.installAll();
    const player = new shaka.Player();
    await player.attach(video);
    player.addEventListener('error', (e) => out.errors.push(`shaka ${e.detail.severity} ${e.detail.code} ${JSON.stringify(e.detail.data).slice(0, 300)}`));
    out.range = () => { const r = player.seekRange(); return [r.start, r.end]; };
    out.live = () => player.seekRange().end;
    out.info = () => ({ live: player.isLive(), type: player.getManifestType(), variants: player.getVariantTracks().length });
    await player.load(url).catch((e) => out.errors.push(`shaka load ${e.code} ${JSON.stringify(e.data).slice(0, 300)}`));
  } else {
    video.src = url;
    out.live = () => out.range()[1];
  }
  video.play().catch((e) => out.errors.push(`play: ${e.message}`));
}

const browser = await launch();
const result = { engine, url, steps: [], errors: [] };
let ok = true;
try {
  const page = await browser.newPage({ viewport: { width: 640, height: 360 } });
  page.on('pageerror', (e) => result.errors.push(`page: ${e.message}`));
  await page.goto(`http://127.0.0.1:${server.address().port}/`);
  await page.evaluate(begin, { engine, url });
  // A player goes to the live edge when it begins; only then it can be told to go elsewhere.
  await page.waitForFunction(() => { const v = document.getElementById('v'); return v.readyState >= 3 && !v.seeking && v.played.length > 0; }, null, { timeout: patience }).catch(() => {});
  for (const name of steps) {
    const from = await page.evaluate((name) => {
      const v = document.getElementById('v');
      const [a, b] = window.__play.range();
      const to = { start: a + 0.5, through: a + 6, middle: (a + b) / 2, end: window.__play.live() - 1, live: null }[name];
      if (to !== null) v.currentTime = to;
      return { range: [a, b], to, long: name === 'through' ? 6 : 2, frames: v.getVideoPlaybackQuality().totalVideoFrames };
    }, name);
    // It plays when two seconds (or six) have passed in the picture, from near where it was told to be.
    const played = await page.waitForFunction((from) => {
      const v = document.getElementById('v');
      if (v.readyState < 2 || v.seeking) return false;
      window.__from ??= v.currentTime;
      return v.currentTime - window.__from >= from.long && v.getVideoPlaybackQuality().totalVideoFrames - from.frames >= 20;
    }, from, { timeout: patience }).then(() => true, () => false);
    const at = await page.evaluate(() => {
      const v = document.getElementById('v');
      const s = { from: window.__from ?? -1, at: v.currentTime, range: window.__play.range(), width: v.videoWidth, height: v.videoHeight,
        frames: v.getVideoPlaybackQuality().totalVideoFrames, errors: window.__play.errors, info: window.__play.info?.() };
      delete window.__from;
      return s;
    });
    result.steps.push({ name, played, wanted: from.to, ...at, frames: at.frames - from.frames });
    ok &&= played;
    await page.screenshot({ path: `${shots}-${name}.png` });
  }
  result.errors.push(...(await page.evaluate(() => window.__play.errors)));
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
  server.close();
}
process.exitCode = ok && result.errors.length === 0 ? 0 : 1;
