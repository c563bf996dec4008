// node watch.mjs URL SECONDS [SCREENSHOT]: opens player.html, watches for SECONDS after
// the first 'playing' and prints one JSON object: {page, stats, samples, console}.
// The exit code is 1 when nothing played within a minute.
import { launch } from './chromium.mjs';

const [url, seconds, screenshot] = process.argv.slice(2);
const firstPlaying = 60_000;
const sampleEvery = 1000;

const browser = await launch();
let played = true;
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const consoleLines = [];
  page.on('console', (m) => consoleLines.length < 200 && consoleLines.push(`${m.type()}: ${m.text()}`));
  page.on('pageerror', (e) => consoleLines.push(`error: ${e.message}`));
  await page.goto(url);
  await page.waitForFunction(() => window.__stats?.playing > 0, null, { timeout: firstPlaying }).catch(() => { played = false; });
  const samples = [];
  const end = Date.now() + Number(seconds) * 1000;
  const sample = async () => {
    const s = await page.evaluate(() => window.__stats);
    samples.push({ at: Date.now(), currentTime: s.currentTime, decoded: s.decoded, dropped: s.dropped, waiting: s.waiting, ahead: s.ahead });
    return s;
  };
  await sample();
  while (played && Date.now() < end) {
    await page.waitForTimeout(Math.max(0, Math.min(sampleEvery, end - Date.now())));
    await sample();
  }
  if (screenshot) await page.screenshot({ path: screenshot });
  const stats = await sample();
  console.log(JSON.stringify({ page: page.url(), stats, samples, console: consoleLines }));
} finally {
  await browser.close();
}
process.exitCode = played ? 0 : 1;
