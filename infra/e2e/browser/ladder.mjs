// node ladder.mjs URL SECONDS FOLDER ALL: opens player.html, plays each rendition for SECONDS,
// then lets a slow network choose (with ALL empty: the first and the last only, and no slow
// network), and prints one JSON object: {levels, visits, throttled, stats,
// console}. FOLDER gets a screenshot of each rendition. The exit code is 1 when nothing played.
import { launch } from './chromium.mjs';

const [url, seconds, folder, all] = process.argv.slice(2);
const length = Number(seconds) * 1000;
const browser = await launch();
let played = true;
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const consoleLines = [];
  page.on('pageerror', (e) => consoleLines.push(`error: ${e.message}`));
  await page.goto(url);
  await page.waitForFunction(() => window.__stats?.playing > 0, null, { timeout: 60_000 }).catch(() => { played = false; });
  const levels = await page.evaluate(() => window.__levels);
  const visits = [];
  for (let i = 0; played && i < levels.length; i++) {
    if (!all && i > 0 && i < levels.length - 1) continue;
    await page.evaluate((n) => window.__choose(n), i);
    const want = levels[i];
    const reached = await page.waitForFunction((n) => window.__stats.level === n, i, { timeout: 40_000 }).then(() => true, () => false);
    await page.waitForTimeout(length);
    await page.screenshot({ path: `${folder}/level-${i}-${want.width}x${want.height}.png` });
    visits.push({ level: i, reached, ...await page.evaluate(() => window.__stats) });
  }
  const throttled = [];
  if (played && all) {
    const cdp = await page.context().newCDPSession(page);
    await cdp.send('Network.enable');
    await page.evaluate(() => window.__choose(-1));
    for (const rate of [900_000, 10_000_000]) {
      await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 20, downloadThroughput: rate / 8, uploadThroughput: rate / 8 });
      await page.waitForTimeout(3 * length);
      throttled.push({ rate, ...await page.evaluate(() => window.__stats) });
    }
  }
  console.log(JSON.stringify({ levels, visits, throttled, stats: await page.evaluate(() => window.__stats), console: consoleLines }));
} finally {
  await browser.close();
}
process.exitCode = played ? 0 : 1;
