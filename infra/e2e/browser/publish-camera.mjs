// node publish-camera.mjs CONSOLE PLAYLIST FOLDER MS: publishes Chromium's fake camera through the console's page, plays the
// playlist with hls.js in a second page, changes the quality, mutes picture and sound and freezes the page, each for MS, and
// stops. Prints {said, steps: [{name, at, decoded}], player, errors} as JSON; FOLDER gets screenshots.
import { join } from 'node:path';
import { fakeDevices, launch } from './chromium.mjs';
import { goLive, openCard, openPlayer, say, stop } from './publisher.mjs';

const [console_, playlist, folder, ms] = process.argv.slice(2);
const pause = Number(ms);
const errors = [];
const browser = await launch(...fakeDevices);
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  await context.grantPermissions(['camera', 'microphone']);
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(`console: ${e.message}`));
  await openCard(page, console_);
  await page.selectOption('[name=quality]', { index: 2 }); // small: this machine decodes and encodes all of it
  await goLive(page);
  const player = await openPlayer(context, console_, playlist, errors);
  const steps = [];
  const step = async (name) => {
    await page.waitForTimeout(pause);
    const s = await player.evaluate(() => window.__stats);
    steps.push({ name, at: s.currentTime, decoded: s.decoded });
  };
  await step('camera');
  const said = await say(page);
  await page.screenshot({ path: join(folder, 'publish-camera.png') });
  await player.screenshot({ path: join(folder, 'publish-camera-played.png') });

  await page.selectOption('[name=quality]', { index: 1 });
  await step('larger picture');
  await page.click('text="Mute picture"');
  await step('picture muted');
  await page.click('text="Send picture again"');
  await page.click('text="Mute sound"');
  await step('sound muted');
  await page.click('text="Send sound again"');
  const cdp = await context.newCDPSession(page);
  await cdp.send('Page.setWebLifecycleState', { state: 'frozen' });
  await step('page frozen');
  await cdp.send('Page.setWebLifecycleState', { state: 'active' });
  await step('page active');
  await stop(page);
  console.log(JSON.stringify({ said, steps, player: await player.evaluate(() => window.__stats), errors }));
} finally {
  await browser.close();
}
