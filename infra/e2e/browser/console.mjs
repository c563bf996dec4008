// node console.mjs CONSOLE FOLDER: takes screenshots of the console (wide, phone, light)
// into FOLDER, works it with the keyboard and prints what it saw as JSON.
import { join } from 'node:path';
import { launch } from './chromium.mjs';

const [url, folder] = process.argv.slice(2);
const browser = await launch();
const errors = [];

async function open(viewport, colorScheme) {
  const context = await browser.newContext({ viewport, colorScheme });
  await context.grantPermissions(['clipboard-read', 'clipboard-write']);
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(e.message));
  page.on('console', (m) => m.type() === 'error' && errors.push(m.text()));
  await page.goto(url);
  await page.waitForSelector('.streams, .empty');
  return page;
}

const shot = (page, name) => page.screenshot({ path: join(folder, `${name}.png`), fullPage: name === 'phone' });

async function look(page) {
  return page.evaluate(() => ({
    chosen: document.querySelector('tr.chosen')?.cells[1].innerText ?? '',
    rows: [...document.querySelectorAll('.streams tbody tr')].map((row) => [...row.cells].map((c) => c.innerText.trim())),
    empty: document.querySelector('.empty')?.innerText ?? '',
    addresses: [...document.querySelectorAll('.copyable code')].map((c) => c.textContent),
    tables: [...document.querySelectorAll('table.plain')].map((t) => t.innerText),
    overflow: document.documentElement.scrollWidth - innerWidth,
  }));
}

try {
  const wide = await open({ width: 1280, height: 800 }, 'dark');
  const seen = { wide: await look(wide) };
  if (seen.wide.rows.length > 0) {
    await wide.waitForFunction(() => document.querySelector('video')?.currentTime > 0.5, null, { timeout: 20_000 });
    seen.playing = true;
    await wide.waitForTimeout(1500);
    await shot(wide, 'wide');
    await wide.focus('.streams tbody button');
    await wide.keyboard.press('ArrowDown');
    seen.afterArrow = await wide.evaluate(() => document.querySelector('tr.chosen button')?.textContent);
    await wide.keyboard.press('ArrowUp');
  } else {
    await shot(wide, 'wide');
  }
  await wide.click('.copyable button');
  seen.copied = await wide.evaluate(() => navigator.clipboard.readText());
  await wide.click('.theme');
  await wide.mouse.move(0, 400);
  await wide.waitForTimeout(1200);
  seen.theme = await wide.evaluate(() => document.documentElement.dataset.theme);
  await shot(wide, 'light');
  const phone = await open({ width: 390, height: 844 }, 'dark');
  await phone.waitForTimeout(1500);
  seen.phone = await look(phone);
  await shot(phone, 'phone');
  seen.errors = errors;
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
