// node ladder.mjs CONSOLE PLAYLIST SECONDS FOLDER ALL: plays PLAYLIST in the console's player.html
// through a proxy that can be slow: each rendition for SECONDS, chosen by hand; then the network
// alone chooses, slower and slower until hls.js plays each rendition below the best, and fast again
// until it is back there. With ALL empty: the first and the last by hand, and no slow network.
// Prints one JSON object: {levels, visits, throttled, stats, console}. FOLDER gets a screenshot of
// each rendition. The exit code is 1 when nothing played.
import { launch } from './chromium.mjs';
import { throttle } from './throttle.mjs';

const [consoleURL, playlist, seconds, folder, all] = process.argv.slice(2);
const length = Number(seconds) * 1000;
const patience = 180_000; // for the network to bring about a rendition
const settle = 9_000; // two segments between changes of the rate
const proxy = await throttle(new URL(playlist).origin);
const browser = await launch();
let played = true;
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const consoleLines = [];
  page.on('pageerror', (e) => consoleLines.push(`error: ${e.message}`));
  const src = proxy.origin + new URL(playlist).pathname;
  await page.goto(`${consoleURL}/player.html?src=${encodeURIComponent(src)}`);
  await page.waitForFunction(() => window.__stats?.playing > 0, null, { timeout: 60_000 }).catch(() => { played = false; });
  const stats = () => page.evaluate(() => window.__stats);
  const levels = await page.evaluate(() => window.__levels);
  const shot = (kind, i) => page.screenshot({ path: `${folder}/${kind}-${i}-${levels[i]?.width}x${levels[i]?.height}.png` });

  const visits = [];
  for (let i = 0; played && i < levels.length; i++) {
    if (!all && i > 0 && i < levels.length - 1) continue;
    const before = await stats();
    await page.evaluate((n) => window.__choose(n), i);
    const reached = await page.waitForFunction((n) => window.__stats.level === n, i, { timeout: 40_000 }).then(() => true, () => false);
    await page.waitForTimeout(length);
    await shot('level', i);
    const after = await stats();
    visits.push({ ...after, level: i, reached, waited: after.waiting - before.waiting });
  }

  // reach has the network slow down or speed up until hls.js loads a rendition, and waits until it
  // is seen.
  const reach = async (level, rate) => {
    const before = await stats();
    const begin = Date.now();
    proxy.rate = rate;
    let changed = begin;
    let now = before;
    for (; now.level !== level && Date.now() - begin < patience; now = await stats()) {
      await page.waitForTimeout(250);
      if (rate === Infinity || Date.now() - changed < settle || now.loading === level) continue;
      proxy.rate *= now.loading > level ? 0.92 : 1.15;
      changed = Date.now();
    }
    const after = await stats();
    await shot('throttled', level);
    return { ...after, wanted: level, rate: Math.round(proxy.rate), took: Date.now() - begin, waited: after.waiting - before.waiting };
  };
  const throttled = [];
  if (played && all) {
    const top = levels.length - 1;
    await page.evaluate(() => window.__choose(-1));
    throttled.push(await reach(top, Infinity));
    for (let i = top - 1; i >= 0; i--) {
      // Between what this rendition needs and what the next one does; sound shares the line.
      throttled.push(await reach(i, Math.sqrt(levels[i].bitrate * levels[i + 1].bitrate) * 1.3));
    }
    throttled.push(await reach(top, Infinity));
  }
  console.log(JSON.stringify({ levels, visits, throttled, stats: await stats(), console: consoleLines }));
} finally {
  await browser.close();
  proxy.close();
}
process.exitCode = played ? 0 : 1;
