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
// A token in the query goes into the path, once, for whoever asked alone.
const token = 'k1.1795995508.0_demolive.5f0c';
const redirects = [
  ['a playlist', multi + 'playlist.m3u8', { token: v(token) }, ''],
  ['the DVR window', multi + 'playlist.m3u8', { DVR: v(''), token: v(token) }, '?DVR'],
  ['no DVR', multi + 'manifest.mpd', { token: v(token), DVR: v('0') }, '?DVR=0'],
  ['flavors', multi + 'playlist.m3u8', { flavorIds: v('32,33'), token: v(token), DVR: v('') }, '?flavorIds=32,33&DVR'],
  ['several values', multi + 'playlist.m3u8', { token: { value: token, multiValue: [v(token), v('other')] }, DVR: { value: '0', multiValue: [v('0'), v('')] } }, '?DVR=0&DVR'],
  ['what is escaped stays so', multi + 'playlist.m3u8', { flavorIds: v('%33%32'), token: v(token) }, '?flavorIds=%33%32'],
  ['what breaks a line goes', multi + 'playlist.m3u8', { DVR: v('\r\nset-cookie: a=b'), 'x\r\ny': v(''), token: v(token) }, ''],
  ['the entry page', '/live/0_demolive', { token: v(token) }, ''],
  ['a picture', multi + 'thumbnail.jpg', { token: v(token) }, ''],
  ['SMIL', '/kLive/0_demolive_all.smil', { token: v(token) }, ''],
  ['escaped letters in the path', '/kLive/smil%3A0_demolive_all.smil/playlist.m3u8', { token: v(token) }, ''],
];
for (const [name, uri, querystring, rest] of redirects) {
  for (const method of ['GET', 'HEAD']) {
    const got = handler({ version: '1.0', request: { method, uri, querystring, headers: {} } });
    assert.strictEqual(got.statusCode, 302, name);
    assert.strictEqual(got.headers.location.value, '/t/' + token + uri + rest, name);
    assert.strictEqual(got.headers['cache-control'].value, 'private, no-store', name);
    assert.strictEqual(got.headers['access-control-allow-origin'].value, '*', name);
    const next = new URL(got.headers.location.value, 'https://live.example.com');
    const again = handler({ version: '1.0', request: { method, uri: next.pathname, querystring: {}, headers: {} } });
    assert.strictEqual(again.statusCode, undefined, name + ': it goes on');
  }
}
const untouched = [
  ['OPTIONS', multi + 'playlist.m3u8', { token: v(token) }], // browsers follow no redirect there
  ['GET', '/t/' + token + multi + 'playlist.m3u8', { token: v('other') }],
  ['GET', '/crossdomain.xml', { token: v(token) }],
  ['GET', multi + 'playlist.m3u8', { token: v('') }],
  ['GET', multi + 'playlist.m3u8', { token: v('a/../b') }],
  ['GET', multi + 'playlist.m3u8', { token: v('a%2fb') }],
  ['GET', multi + 'playlist.m3u8', { token: v('a\r\nb') }],
  ['GET', multi + 'playlist.m3u8', { token: v('k1.1.all.' + 'x'.repeat(250)) }],
  ['GET', multi + 'playlist.m3u8', { token: v('k1.1.all.') }],
  ['GET', multi + 'playlist.m3u8', { token: v('..') }],
  ['GET', multi + 'playlist.m3u8', { Token: v(token) }],
];
for (const [method, uri, querystring] of untouched) {
  const got = handler({ version: '1.0', request: { method, uri, querystring, headers: {} } });
  assert.strictEqual(got.uri, uri, method + ' ' + uri + ' ' + JSON.stringify(querystring));
}
assert.strictEqual(handler({ version: '1.0', request: { method: 'GET', uri: tricks[0], querystring: { token: v(token) }, headers: {} } }).statusCode, 404);

for (const uri of ['/', '/crossdomain.xml', '/t/k1.1.all.0a/kLive/smil%3A0_demolive_all.smil/playlist.m3u8', '/kLive/x/..a/.b']) {
  const got = handler({ version: '1.0', request: { method: 'GET', uri, querystring: {}, headers: {} } });
  assert.strictEqual(got.uri, uri);
}
console.log(cases.length + ' requests, ' + redirects.length + ' redirects, ' + tricks.length + ' tricks');
