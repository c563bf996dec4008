// node strict.mjs < {"path": "text", …}[] : parses playlists with hls-parser in its strict mode
// and prints the complaints, one a line.
import { readFileSync } from 'node:fs';
import HLS from 'hls-parser';

HLS.setOptions({ strictMode: true, silent: true });
let n = 0;
for (const { path, text } of JSON.parse(readFileSync(0, 'utf8'))) {
  try {
    HLS.parse(text);
    n++;
  } catch (e) {
    console.log(`${path}: ${e.message}`);
  }
}
console.error(`${n} playlists`);
