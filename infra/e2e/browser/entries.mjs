// node entries.mjs CONSOLE [SCREENSHOT]: adds an entry in the console, copies its address, splits a recording, removes the
// entry, tries to remove another and prints what it saw as JSON.
import { launch } from './chromium.mjs';

const [url, shot] = process.argv.slice(2);
const browser = await launch();
const errors = [];

try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(e.message));
  await page.goto(url);
  await page.waitForSelector('[aria-label=Entries] li');
  const names = () => page.$$eval('.entry-name', (all) => all.map((e) => e.textContent.trim()));
  const count = (n) => page.waitForFunction((n) => document.querySelectorAll('[aria-label=Entries] li').length === n, n);
  const seen = { names: [await names()] };

  await page.fill('.entry-add [name=name]', 'Town hall');
  await page.fill('.entry-add [name=token]', 'a/b');
  await page.click('.entry-add button');
  seen.refused = await page.textContent('.entry-add .banner');
  await page.fill('.entry-add [name=token]', 'vote4me');
  await page.fill('.entry-add [name=dvr]', '30');
  seen.profiles = await page.$$eval('.entry-add [name=profile] option', (all) => all.map((o) => o.textContent + (o.selected ? ' chosen' : '')));
  await page.selectOption('.entry-add [name=profile]', '502');
  await page.selectOption('.entry-add [name=record]', 'session');
  await page.fill('.entry-add [name=srtPassphrase]', 'behind.closed.doors');
  await page.click('.entry-add button');
  await count(2);
  seen.names.push(await names());
  await page.click('.entry-addresses button[aria-label="Copy Server"]');
  seen.copied = await page.evaluate(() => navigator.clipboard.readText());

  seen.addresses = await page.$$eval('.entry-addresses .copyable', (all) => all.map((e) => `${e.querySelector('.copyable-label').textContent}: ${e.querySelector('code').textContent}`));
  if (shot) await page.screenshot({ path: shot, fullPage: true });

  await page.click('button[aria-label="Split the recording of 0_demolive"]');
  seen.split = await page.textContent('.recordings [role=status]');
  seen.cards = await page.$$eval('section[aria-label] > h2, table caption', (all) => all.map((h) => h.textContent));

  await page.click('button[aria-label="Remove Town hall"]');
  await page.click('.entry-sure .danger');
  await count(1);
  seen.names.push(await names());
  await page.click('button[aria-label="Remove Demo"]');
  await page.click('.entry-sure .danger');
  seen.kept = await page.textContent('[aria-label=Entries] > .banner');
  seen.errors = errors;
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
