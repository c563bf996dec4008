// node entries.mjs CONSOLE: adds an entry in the console, copies its address, removes it, tries
// to remove another and prints what it saw as JSON.
import { launch } from './chromium.mjs';

const [url] = process.argv.slice(2);
const browser = await launch();
const errors = [];

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(e.message));
  await page.goto(url);
  await page.waitForSelector('.entries li');
  const names = () => page.$$eval('.entry-name', (all) => all.map((e) => e.textContent.trim()));
  const count = (n) => page.waitForFunction((n) => document.querySelectorAll('.entries li').length === n, n);
  const seen = { names: [await names()] };

  await page.fill('.entry-add [name=name]', 'Town hall');
  await page.fill('.entry-add [name=token]', 'a/b');
  await page.click('.entry-add button');
  seen.refused = await page.textContent('.entry-add .banner');
  await page.fill('.entry-add [name=token]', 'vote4me');
  await page.fill('.entry-add [name=dvr]', '30');
  await page.click('.entry-add button');
  await count(2);
  seen.names.push(await names());
  await page.click('.entry-addresses button[aria-label="Copy Server"]');
  seen.copied = await page.evaluate(() => navigator.clipboard.readText());

  await page.click('button[aria-label="Remove Town hall"]');
  await page.click('.entry-sure .danger');
  await count(1);
  seen.names.push(await names());
  await page.click('button[aria-label="Remove Demo"]');
  await page.click('.entry-sure .danger');
  seen.kept = await page.textContent('.entries > .banner');
  seen.errors = errors;
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
