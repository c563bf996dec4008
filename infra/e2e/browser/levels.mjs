// node levels.mjs URL SECONDS [SCREENSHOT]: opens player.html, has hls.js play each level for
// SECONDS, then the first one again, and prints one JSON object: {levels, visits, stats, console}.
// A visit is {level, width, height, took, waiting, decoded, seconds}: what the page counted while
// the level was on, and how long the switch took in ms; -1 when it did not come within half a minute.
// The exit code is 1 when nothing played within a minute.
import { launch } from './chromium.mjs';

const [url, seconds, screenshot] = process.argv.slice(2);
const firstPlaying = 60_000;
const switching = 30_000;
// Two of the longest segments' worth of buffer, so that a switch is not held up by the live edge.
const ahead = 4;

const browser = await launch();
let played = true;
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 720 } });
  const consoleLines = [];
  page.on('console', (m) => consoleLines.length < 200 && consoleLines.push(`${m.type()}: ${m.text()}`));
  page.on('pageerror', (e) => consoleLines.push(`error: ${e.message}`));
  await page.goto(url);
  await page.waitForFunction((ahead) => window.__stats?.playing > 0 && window.__stats.ahead > ahead, ahead, { timeout: firstPlaying }).catch(() => { played = false; });
  const stats = () => page.evaluate(() => window.__stats);
  const { levels } = await stats();
  const visits = [];
  for (let i = 0; played && i <= levels; i++) {
    const level = i % levels;
    const before = await stats();
    const begin = Date.now();
    await page.evaluate((level) => window.__choose(level), level);
    let took = -1;
    await page.waitForFunction((level) => window.__stats.level === level, level, { timeout: switching, polling: 50 })
      .then(() => { took = Date.now() - begin; }, () => {});
    const on = await stats();
    await page.waitForTimeout(Number(seconds) * 1000);
    const after = await stats();
    visits.push({
      level: after.level, width: after.width, height: after.height, took, waiting: after.waiting - before.waiting,
      decoded: after.decoded - on.decoded, seconds: after.currentTime - on.currentTime,
    });
  }
  if (screenshot) await page.screenshot({ path: screenshot });
  console.log(JSON.stringify({ levels, visits, stats: await stats(), console: consoleLines }));
} finally {
  await browser.close();
}
process.exitCode = played ? 0 : 1;
