// A proxy in front of an origin, through which all that is fetched shares one line of a given rate.
import { createServer, request } from 'node:http';

const piece = 4096; // bytes that leave at once

/** throttle listens on a port of its own: {origin, rate in bit/s (may be set), close()}. */
export async function throttle(origin) {
  const line = { rate: Infinity, free: 0 };
  // turn resolves when so many bytes have gone over the line.
  const turn = (bytes) => {
    const now = performance.now();
    line.free = Math.max(now, line.free) + (bytes * 8 * 1000) / line.rate;
    return new Promise((go) => setTimeout(go, line.free - now));
  };
  const server = createServer((req, res) => {
    const up = request(origin + req.url, { method: req.method, headers: { ...req.headers, host: new URL(origin).host } }, async (answer) => {
      res.writeHead(answer.statusCode, answer.headers);
      try {
        for await (const chunk of answer) {
          if (line.rate === Infinity) {
            if (!res.write(chunk)) await new Promise((go) => { res.once('drain', go); res.once('close', go); });
            continue;
          }
          for (let at = 0; at < chunk.length && !res.destroyed; at += piece) {
            const part = chunk.subarray(at, at + piece);
            await turn(part.length);
            res.write(part);
          }
        }
        res.end();
      } catch {
        res.destroy();
      }
    });
    up.on('error', () => res.destroy());
    res.on('close', () => up.destroy());
    req.pipe(up);
  });
  await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
  return {
    origin: `http://127.0.0.1:${server.address().port}`,
    get rate() { return line.rate; },
    set rate(v) { line.rate = v; line.free = 0; },
    close: () => { server.close(); server.closeAllConnections(); },
  };
}
