// node publish-refusals.mjs CONSOLE ELSEWHERE FOLDER: tries to publish from the console under circumstances that don't let it,
// and prints what the page says, by circumstance, as JSON. CONSOLE is on this host; ELSEWHERE is the same under a name that is
// no loopback address, with its token. FOLDER gets a screenshot of each.
import { join } from 'node:path';
import { fakeDevices, launch } from './chromium.mjs';

const [url, elsewhere, folder] = process.argv.slice(2);
const says = {};
const errors = [];

/** Opens the card for an entry in a page of its own, and does what the circumstance asks. */
async function attempt(browser, name, entry, permissions, act, address = url) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  if (permissions.length > 0) await context.grantPermissions(permissions);
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(`${name}: ${e.message}`));
  if (name === 'unreachable') await page.clock.install();
  await page.goto(address);
  await page.click('.publish-head button');
  await page.selectOption('.studio-settings select >> nth=0', entry);
  await act(page);
  const banner = page.locator('.studio .banner');
  await banner.waitFor({ timeout: 20_000 });
  says[name] = { reason: await banner.textContent(), state: await page.textContent('.studio-numbers [role=status]') };
  await page.screenshot({ path: join(folder, `refused-${name}.png`) });
  await context.close();
}

const preview = (page) => page.click('.studio-buttons .go');
const publish = async (page) => {
  await preview(page);
  await page.click('.studio-buttons .go:text("Publish")');
};
const both = ['camera', 'microphone'];

const bare = await launch('--host-resolver-rules=MAP klive.example 127.0.0.1');
try {
  await attempt(bare, 'insecure', '0_demolive', [], async () => {}, elsewhere);
  await attempt(bare, 'no-device', '0_demolive', both, preview);
} finally {
  await bare.close();
}
const browser = await launch(...fakeDevices);
try {
  await attempt(browser, 'denied', '0_demolive', [], preview);
  await attempt(browser, 'wrong-token', '0_refused1', both, publish);
  await attempt(browser, 'nobody', 'other', both, async (page) => {
    await page.fill('.studio-settings [name=url]', 'http://127.0.0.1:9/whip/0_rkij47dr_1?p=102&i=0');
    await publish(page);
  });
  await attempt(browser, 'no-address', 'other', both, async (page) => {
    await page.fill('.studio-settings [name=url]', '0_rkij47dr_1');
    await publish(page);
  });
  await attempt(browser, 'unreachable', '0_demolive', both, async (page) => {
    await publish(page);
    await page.waitForFunction(() => document.querySelector('.studio-numbers [role=status]').textContent === 'Connecting');
    for (let i = 0; i < 20 && !(await page.isVisible('.studio .banner')); i++) {
      await page.clock.fastForward(4000);
      await new Promise((done) => setTimeout(done, 100));
    }
  });
} finally {
  await browser.close();
}
console.log(JSON.stringify({ says, errors }));
