// node vod.mjs CONSOLE SECONDS SCREENSHOT: plays each flavor of the first recorded entry in the
// console for SECONDS of media and prints one JSON object: {flavors: [{name, width, height, decoded, sound, played,
// length}], errors}. The screenshot shows the last one.
import { launch } from './chromium.mjs';

const [url, seconds, screenshot] = process.argv.slice(2);
const patience = 30_000;
const browser = await launch();
const result = { flavors: [], errors: [] };
try {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 } });
  page.on('pageerror', (e) => result.errors.push(e.message));
  await page.goto(url);
  const buttons = '.recordings button:has-text("Flavor")';
  await page.waitForSelector(buttons, { timeout: patience });
  for (const button of await page.$$(buttons)) {
    const name = (await button.textContent()).trim();
    await button.click();
    await page.waitForFunction((least) => {
      const v = document.querySelector('video.vod');
      return v && !v.seeking && v.currentTime >= least && v.getVideoPlaybackQuality().totalVideoFrames > 0;
    }, Number(seconds), { timeout: patience }).catch(() => result.errors.push(`${name} did not play`));
    result.flavors.push(await page.evaluate((name) => {
      const v = document.querySelector('video.vod');
      if (v?.error) throw new Error(`${name}: ${v.error.message}`);
      return { name, width: v?.videoWidth ?? 0, height: v?.videoHeight ?? 0, decoded: v?.getVideoPlaybackQuality().totalVideoFrames ?? 0,
        sound: v?.webkitAudioDecodedByteCount ?? 0, played: v?.currentTime ?? 0, length: v?.duration ?? 0 };
    }, name));
  }
  await page.locator('.recordings').scrollIntoViewIfNeeded();
  await page.screenshot({ path: screenshot });
  console.log(JSON.stringify(result));
} finally {
  await browser.close();
}
