// node rewrite.test.js: what the CloudFront function makes of requests.
'use strict';
const assert = require('node:assert');
const fs = require('node:fs');
const path = require('node:path');

const source = fs.readFileSync(path.join(__dirname, 'rewrite.js'), 'utf8');
const handler = new Function(source + '; return handler;')();
assert.ok(source.length < 10240, 'CloudFront takes 10 KB');

// Each behaviour has it: media too are asked for with such paths.
const main = fs.readFileSync(path.join(__dirname, 'main.tf'), 'utf8');
assert.strictEqual(main.match(/function_arn += aws_cloudfront_function\.rewrite\.arn/g).length, main.match(/target_origin_id +=/g).length);

const v = (value) => ({ value });
const multi = '/kLive/smil:0_demolive_all.smil/';
const cases = [
  ['the live window', multi + 'playlist.m3u8', {}, multi + 'playlist.m3u8', {}],
  ['DVR without a value', multi + 'playlist.m3u8', { DVR: v('') }, multi + 'playlist-dvr.m3u8', {}],
  ['DVR with a value', multi + 'playlist.m3u8', { DVR: v('1') }, multi + 'playlist-dvr.m3u8', {}],
  ['no DVR', multi + 'playlist.m3u8', { DVR: v('0') }, multi + 'playlist.m3u8', {}],
  ['no DVR, in words', multi + 'manifest.mpd', { DVR: v('false'), flavorIds: v('32') }, multi + 'manifest.mpd', { flavorIds: v('32') }],
  ['no DVR, and DVR', multi + 'playlist.m3u8', { DVR: { value: '', multiValue: [v('0'), v('')] } }, multi + 'playlist.m3u8', {}],
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
const tricks = [
  '/kLive/0_aaaaaaaa_1/../0_demolive_32/b/1-1.m4s', '/kLive/./0_demolive_32/v.m3u8', '//kLive/0_demolive_32/v.m3u8', '/kLive//v.m3u8', '/kLive/..',
  '/kLive/x/%2e%2E/0_demolive_32/v.m3u8', '/kLive/..%2f0_demolive_32/v.m3u8', '/kLive/x%2Fv.m3u8', '/kLive/x\\v.m3u8', '/kLive/x%5cv.m3u8', '/.',
];
for (const uri of tricks) {
  const got = handler({ version: '1.0', request: { method: 'GET', uri, querystring: {}, headers: {} } });
  assert.strictEqual(got.statusCode, 404, uri);
}
for (const uri of ['/', '/crossdomain.xml', '/t/k1.1.all.0a/kLive/smil%3A0_demolive_all.smil/playlist.m3u8', '/kLive/x/..a/.b']) {
  const got = handler({ version: '1.0', request: { method: 'GET', uri, querystring: {}, headers: {} } });
  assert.strictEqual(got.uri, uri);
}
console.log(cases.length + ' requests, ' + tricks.length + ' tricks');
