// What publishing scripts have in common: the console's card, and a playlist to wait for.

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
export async function waitPlaylist(address) {
  for (const end = Date.now() + 60_000; Date.now() < end;) {
    const text = await fetch(address).then((r) => (r.ok ? r.text() : ''), () => '');
    if (text.includes('#EXT-X-STREAM-INF')) return;
    await new Promise((done) => setTimeout(done, 100));
  }
  throw new Error(`no playlist at ${address}`);
}
