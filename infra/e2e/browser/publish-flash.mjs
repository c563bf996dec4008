// node publish-flash.mjs CONSOLE WHIP TOKEN PLAYLIST FOLDER SECONDS: publishes a canvas that flashes and an oscillator that
// beeps, both each second, through the console's page and its typed address, for SECONDS; then makes the canvas smaller, waits until
// that is played, and keeps it from being drawn for a while, as in a tab that is put aside. Meanwhile hls.js plays it in a second page, to the end. Prints
// {said, flashes: [{due, drawn}], player, errors} as JSON, times in seconds of the page's audio clock. FOLDER gets screenshots.
import { join } from 'node:path';
import { launch } from './chromium.mjs';
import { goLive, openCard, openPlayer, playOut, say, stop } from './publisher.mjs';

const [console_, whip, token, playlist, folder, seconds] = process.argv.slice(2);

/** Puts a canvas and an oscillator in the place of camera and microphone. */
function flashAndBeep() {
  const flashes = [];
  window.__flashes = flashes;
  navigator.mediaDevices.getUserMedia = async () => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
    window.__canvas = canvas;
    const draw = canvas.getContext('2d');
    const context = new AudioContext();
    await context.resume();
    const oscillator = new OscillatorNode(context, { frequency: 1000 });
    const gain = new GainNode(context, { gain: 0 });
    const out = context.createMediaStreamDestination();
    oscillator.connect(gain).connect(out);
    oscillator.start();
    const first = Math.ceil(context.currentTime + 1);
    for (let i = 0; i < 120; i++) {
      gain.gain.setValueAtTime(0.8, first + i);
      gain.gain.setValueAtTime(0, first + i + 0.15);
    }
    let lit = -1;
    setInterval(() => {
      if (window.__aside) return;
      const now = context.currentTime - first;
      const second = Math.floor(now);
      const on = now >= 0 && now - second < 0.15;
      if (on && lit !== second) {
        lit = second;
        flashes.push({ due: second, drawn: now });
      }
      draw.fillStyle = on ? '#fff' : '#101018';
      draw.fillRect(0, 0, canvas.width, canvas.height);
      draw.fillStyle = '#888';
      draw.fillRect((now * 120) % canvas.width, canvas.height - 40, 24, 24); // something moves in each picture
    }, 15);
    return new MediaStream([...canvas.captureStream(30).getVideoTracks(), ...out.stream.getAudioTracks()]);
  };
}

const errors = [];
const browser = await launch();
try {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  const page = await context.newPage();
  page.on('pageerror', (e) => errors.push(`console: ${e.message}`));
  await page.addInitScript(flashAndBeep);
  await openCard(page, console_);
  await page.fill('.studio-settings [name=url]', whip);
  await page.fill('.studio-settings [name=token]', token);
  await goLive(page);
  const player = await openPlayer(context, console_, playlist, errors);
  await page.waitForTimeout(Number(seconds) * 1000);
  const said = await say(page);
  await page.screenshot({ path: join(folder, 'publish-flash.png') });
  await player.screenshot({ path: join(folder, 'publish-flash-played.png') });
  await page.evaluate(() => { window.__canvas.width = 320; window.__canvas.height = 180; });
  // First the encoder has to begin anew, then the player to come to it.
  await page.waitForFunction(() => document.querySelector('.studio-numbers').textContent.includes('320×180'), null, { timeout: 20_000 })
    .catch(async () => errors.push(`the page does not send the smaller canvas: ${JSON.stringify(await say(page))}`));
  await player.waitForFunction(() => window.__stats.width === 320, null, { timeout: 60_000 })
    .catch(async () => errors.push(`the player does not show the smaller canvas: ${JSON.stringify(await player.evaluate(() => window.__stats))}`));
  for (const aside of [true, false]) {
    await page.evaluate((aside) => { window.__aside = aside; }, aside);
    await page.waitForTimeout(1500);
  }
  await stop(page);
  await playOut(player, errors);
  console.log(JSON.stringify({ said, flashes: await page.evaluate(() => window.__flashes), player: await player.evaluate(() => window.__stats), errors }));
} finally {
  await browser.close();
}
