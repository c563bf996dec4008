// Starts the Chromium of the system, quiet and without a network of its own.
import { chromium } from 'playwright-core';

const flags = [
  '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required',
];

// With these it has a camera, microphones and a screen, which it makes up.
export const fakeDevices = ['--use-fake-device-for-media-stream=fps=30', '--auto-select-desktop-capture-source=Entire screen'];

export async function launch(...more) {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, args: [...flags, ...more] });
}
