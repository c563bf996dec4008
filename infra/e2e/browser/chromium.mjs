// Starts the Chromium of the system, quiet and without a network of its own.
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

// With these it has a camera, microphones and a screen, which it makes up.
export const fakeDevices = ['--use-fake-device-for-media-stream=fps=30', '--auto-select-desktop-capture-source=Entire screen'];

// launch tries again when Chromium ends by itself while it starts, as it does now and then.
export async function launch(...more) {
  const options = { executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...flags, ...more] };
  for (let tries = 3; ; tries--) {
    try {
      return await chromium.launch(options);
    } catch (err) {
      if (tries === 1 || !String(err).includes('has been closed')) throw err;
      console.error('Chromium ended while it started; trying again');
    }
  }
}
