// node strict.mjs < {"path": "text", …}[] : parses playlists with hls-parser in its strict mode
// and prints the complaints, one a line.
import { readFileSync } from 'node:fs';
import HLS from 'hls-parser';

HLS.setOptions({ strictMode: true, silent: true });

// hls-parser takes each EXT-X-SERVER-CONTROL for low latency and asks for CAN-BLOCK-RELOAD in it.
// HOLD-BACK may stand alone (RFC 8216bis §4.4.3.8), three target durations or more.
const holdBack = /^#EXT-X-SERVER-CONTROL:HOLD-BACK=([\d.]+)\n/m;

function plain(text) {
  const said = holdBack.exec(text);
  if (!said) return text;
  const target = Number(/^#EXT-X-TARGETDURATION:(\d+)$/m.exec(text)?.[1]);
  if (!(Number(said[1]) >= 3 * target)) throw new Error(`HOLD-BACK=${said[1]} with a target of ${target}`);
  return text.replace(holdBack, '');
}

let n = 0;
for (const { path, text } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    HLS.parse(plain(text));
    n++;
  } catch (e) {
    console.log(`${path}: ${e.message}`);
  }
}
console.error(`${n} playlists`);
