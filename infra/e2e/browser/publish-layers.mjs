// node publish-layers.mjs CONSOLE WHIP TOKEN RELAY SECONDS: publishes a canvas in three sizes at a time (simulcast) for SECONDS, by a
// WHIP client of a few lines whose media all go to RELAY, host:port. Prints
// {answer, layers: [{rid, width, height, frames, nacks, repeats, repeating, keyframes}], errors} as JSON.
import { launch } from './chromium.mjs';

const [console_, whip, token, relay, seconds] = process.argv.slice(2);

/** Publishes, in the page. */
async function publish({ whip, token, relay }) {
  const canvas = Object.assign(document.createElement('canvas'), { width: 1280, height: 720 }); // Chromium sends less than three sizes of small pictures
  const draw = canvas.getContext('2d');
  let n = 0;
  setInterval(() => {
    draw.fillStyle = '#101018';
    draw.fillRect(0, 0, canvas.width, canvas.height);
    draw.fillStyle = '#8af';
    draw.fillRect((n++ * 7) % canvas.width, 100, 80, 80);
  }, 66);
  const pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  window.__pc = pc;
  pc.addTransceiver(canvas.captureStream(15).getVideoTracks()[0], {
    direction: 'sendonly',
    sendEncodings: [{ rid: 'q', scaleResolutionDownBy: 4 }, { rid: 'h', scaleResolutionDownBy: 2 }, { rid: 'f' }],
  });
  await pc.setLocalDescription();
  const response = await fetch(whip, { method: 'POST', headers: { 'Content-Type': 'application/sdp', Authorization: `Bearer ${token}` }, body: pc.localDescription.sdp });
  const answer = await response.text();
  if (response.status !== 201) throw new Error(`${response.status}: ${answer}`);
  window.__session = new URL(response.headers.get('Location'), response.url).href;
  const [host, port] = relay.split(':');
  const lines = answer.split('\r\n').filter((l) => !l.startsWith('a=candidate:'));
  const last = lines.lastIndexOf('a=end-of-candidates');
  lines.splice(last, 0, `a=candidate:1 1 udp 2130706431 ${host} ${port} typ host`);
  await pc.setRemoteDescription({ type: 'answer', sdp: lines.join('\r\n') });
  return answer;
}

/** What was sent of each layer. */
async function sent() {
  const layers = [];
  (await window.__pc.getStats()).forEach((s) => {
    if (s.type === 'outbound-rtp') layers.push({ rid: s.rid, width: s.frameWidth ?? 0, height: s.frameHeight ?? 0, frames: s.framesSent, nacks: s.nackCount, repeats: s.retransmittedPacketsSent, repeating: Boolean(s.rtxSsrc), keyframes: s.keyFramesEncoded });
  });
  return layers;
}

const errors = [];
const browser = await launch();
try {
  const page = await (await browser.newContext()).newPage();
  page.on('pageerror', (e) => errors.push(e.message));
  await page.route('**/kLive/**', (route) => route.abort());
  await page.goto(console_);
  const answer = await page.evaluate(publish, { whip, token, relay });
  await page.waitForFunction(() => window.__pc.connectionState === 'connected', null, { timeout: 30_000 });
  // Browsers begin with the smallest, and add the others as they find that the network carries them.
  for (let tries = 0; (await page.evaluate(sent)).some((l) => !l.frames); tries++) {
    if (tries > 60) throw new Error(`not all layers are sent: ${JSON.stringify(await page.evaluate(sent))}`);
    await page.waitForTimeout(1000);
  }
  await page.waitForTimeout(Number(seconds) * 1000);
  const layers = await page.evaluate(sent);
  await page.evaluate(() => fetch(window.__session, { method: 'DELETE' }));
  console.log(JSON.stringify({ answer, layers, errors }));
} finally {
  await browser.close();
}
