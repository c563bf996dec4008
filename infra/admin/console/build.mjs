// Bundles the console and the test player into dist/, which the Go binary embeds.
import { build } from 'esbuild';
import { copyFile, mkdir, readdir, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const dist = join(here, 'dist');
const src = join(here, 'src');
const hlsWorker = join(dirname(createRequire(import.meta.url).resolve('hls.js')), 'hls.worker.js');

await mkdir(dist, { recursive: true });
for (const name of await readdir(dist)) {
  if (name !== '.keep') await rm(join(dist, name), { recursive: true });
}
await build({
  entryPoints: {
    app: join(src, 'main.tsx'),
    player: join(src, 'player-page.ts'),
    style: join(src, 'style.css'),
  },
  outdir: dist,
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'linked',
  logLevel: 'warning',
});
// hls.js demuxes in this worker; without it the work falls on the page itself.
await copyFile(hlsWorker, join(dist, 'hls.worker.js'));
for (const name of ['index.html', 'player.html', 'icon.svg']) {
  await copyFile(join(src, name), join(dist, name));
}
