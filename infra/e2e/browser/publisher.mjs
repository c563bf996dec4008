// What publishing scripts have in common: the console's card, and a playlist to wait for.

/** Opens the console's card. The console plays what is on the air; here that is left to the second page. */
export async function openCard(page, console_) {
  await page.route('**/kLive/**', (route) => route.abort());
  await page.goto(console_);
  await page.click('.publish-head button');
}

/** Opens the player in a page of its own, and waits until it plays. */
export async function openPlayer(context, console_, playlist, errors) {
  await waitPlaylist(playlist);
  const player = await context.newPage();
  player.on('pageerror', (e) => errors.push(`player: ${e.message}`));
  await player.goto(`${new URL(console_).origin}/player.html?src=${encodeURIComponent(playlist)}`);
  await player.waitForFunction(() => window.__stats?.playing > 0 && window.__stats.currentTime > 0, null, { timeout: 120_000 }).catch(async (e) => {
    throw new Error(`nothing plays: ${e.message} ${JSON.stringify(await player.evaluate(() => window.__stats))}`);
  });
  return player;
}

/** Stops publishing. */
export async function stop(page) {
  await page.click('text="Stop publishing"');
  await page.waitForFunction(() => document.querySelector('.studio-numbers [role=status]').textContent === 'Not published');
}

/** Waits until the player has come to the end of what there is. hls.js says so, unless the last segment of a track is a gap: then
 * it stands there. */
export async function playOut(player, errors) {
  let before = -1;
  for (let still = 0; still < 12;) {
    await player.waitForTimeout(1000);
    const s = await player.evaluate(() => window.__stats);
    if (s.ended > 0) return;
    still = s.currentTime === before ? still + 1 : 0;
    before = s.currentTime;
  }
  const { ahead } = await player.evaluate(() => window.__stats);
  if (ahead > 0.5) errors.push(`the player stands still with ${ahead} s ahead of it`);
}

/** Presses Show preview and Publish, and waits until the page says that it publishes. */
export async function goLive(page) {
  await page.click('.studio-buttons .go');
  await page.click('.studio-buttons .go:text("Publish")');
  await page.waitForFunction(() => {
    const state = document.querySelector('.studio-numbers [role=status]')?.textContent;
    if (state === 'Failed') throw new Error(document.querySelector('.studio .banner')?.textContent);
    return state === 'Published';
  }, null, { timeout: 30_000 });
}

/** What the card says while it publishes, by the names of its rows. */
export const say = (page) => page.$$eval('.studio-numbers > div', (rows) => Object.fromEntries(rows.map((r) => [r.children[0].textContent, r.children[1].textContent])));

/** Waits until a multivariant playlist is there. */
async function waitPlaylist(address) {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const text = await fetch(address).then((r) => (r.ok ? r.text() : ''), () => '');
    if (text.includes('#EXT-X-STREAM-INF')) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`no playlist at ${address}`);
}
