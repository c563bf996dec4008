// Watches a player page for a while and prints what it counted, as one line of JSON.
// node watch.mjs '{"page": "http://…/player.html?src=…", "browser": "/usr/bin/chromium", "patience": 30,
//   "from": 0, "seconds": 10, "screenshot": "/tmp/x.png"}'; counting begins at media time from.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { chromium } from 'playwright-core';

const task = JSON.parse(process.argv[2]);
const profile = await mkdtemp(join(tmpdir(), 'klive-browser-'));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: task.browser,
  headless: true,
  viewport: { width: 1280, height: 800 },
  args: [
    '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
  ],
});
try {
  const page = await context.newPage();
  await page.goto(task.page);
  await page.waitForFunction(() => window.__stats?.playing > 0 || window.__stats?.fatal.length > 0, null, { timeout: task.patience * 1000 });
  await page.waitForFunction((from) => window.__stats.currentTime >= from || window.__stats.fatal.length > 0, task.from, { timeout: task.patience * 1000 });
  const read = () => page.evaluate(() => window.__stats);
  const start = await read();
  const began = Date.now();
  await page.waitForTimeout(task.seconds * 1000);
  const end = await read();
  const seconds = (Date.now() - began) / 1000;
  if (task.screenshot) await page.screenshot({ path: task.screenshot });
  console.log(JSON.stringify({ start, end, seconds }));
} finally {
  await context.close();
  await rm(profile, { recursive: true, force: true });
}
