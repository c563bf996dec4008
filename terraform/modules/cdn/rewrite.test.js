// node rewrite.test.js: what the CloudFront function makes of requests.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');

const source = fs.readFileSync(path.join(__dirname, 'rewrite.js'), 'utf8');
const handler = new Function(source + '; return handler;')();
assert.ok(source.length < 10240, 'CloudFront takes 10 KB');

const v = (value) => ({ value });
const multi = '/kLive/smil:0_demolive_all.smil/';
const cases = [
  ['the live window', multi + 'playlist.m3u8', {}, multi + 'playlist.m3u8', {}],
  ['DVR without a value', multi + 'playlist.m3u8', { DVR: v('') }, multi + 'playlist-dvr.m3u8', {}],
  ['DVR with a value', multi + 'playlist.m3u8', { DVR: v('1') }, multi + 'playlist-dvr.m3u8', {}],
  ['other names stay', multi + 'playlist.m3u8', { DVR: v(''), flavorIds: v('32,33') }, multi + 'playlist-dvr.m3u8', { flavorIds: v('32,33') }],
  ['case counts', multi + 'playlist.m3u8', { dvr: v('') }, multi + 'playlist.m3u8', { dvr: v('') }],
  ['one rendition', '/kLive/0_demolive_32/playlist.m3u8', { DVR: v('') }, '/kLive/0_demolive_32/playlist-dvr.m3u8', {}],
  ['already DVR', multi + 'playlist-dvr.m3u8', { DVR: v('') }, multi + 'playlist-dvr.m3u8', { DVR: v('') }],
  ['a media playlist', '/kLive/0_demolive_32/v.m3u8', { _HLS_msn: v('7') }, '/kLive/0_demolive_32/v.m3u8', { _HLS_msn: v('7') }],
  ['media', '/kLive/0_demolive_32/b/1-1.m4s', { DVR: v('') }, '/kLive/0_demolive_32/b/1-1.m4s', { DVR: v('') }],
  ['the name inside the path', '/kLive/playlist.m3u8/x.m4s', { DVR: v('') }, '/kLive/playlist.m3u8/x.m4s', { DVR: v('') }],
];
for (const [name, uri, querystring, wantUri, wantQuery] of cases) {
  const got = handler({ version: '1.0', request: { method: 'GET', uri, querystring, headers: {} } });
  assert.strictEqual(got.uri, wantUri, name);
  assert.deepStrictEqual(got.querystring, wantQuery, name);
}
console.log(cases.length + ' requests');
