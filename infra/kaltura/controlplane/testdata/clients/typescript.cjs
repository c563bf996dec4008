// Makes calls with Kaltura's TypeScript client, which runs in browsers, and prints what came of
// each as one JSON object. Arguments: the API's address, the admin secret of partner 102, the
// size of the file to upload.
const fs = require('node:fs')

// What the client takes from the browser.
globalThis.XMLHttpRequest = class {
  upload = { addEventListener() {} }
  headers = {}
  open(method, url) { Object.assign(this, { method, url }) }
  setRequestHeader(name, value) { this.headers[name] = value }
  abort() {}
  send(body) {
    fetch(this.url, { method: this.method, headers: this.headers, body }).then(async (r) => {
      this.status = r.status
      this.response = this.responseText = await r.text()
    }).catch((e) => { this.status = 0; this.response = this.responseText = String(e) }).then(() => {
      this.readyState = 4
      this.onreadystatechange()
    })
  }
}
globalThis.FileList = class {}
if (typeof File === 'undefined') globalThis.File = require('node:buffer').File

const { KalturaBrowserHttpClient } = require('kaltura-typescript-client/kaltura-clients')
const { KalturaMultiRequest } = require('kaltura-typescript-client')
const types = (name) => require('kaltura-typescript-client/types/' + name)[name]

const [url, secret, size] = process.argv.slice(2)
console.log = console.warn = () => {}
const client = new KalturaBrowserHttpClient({ endpointUrl: url, clientTag: 'test', chunkFileSize: 1e6 })
const out = {}

/** Runs a request and keeps its answer, or its error's code and arguments. */
async function step(name, request) {
  try {
    out[name] = await client.request(request)
  } catch (e) {
    out[name] = { failed: e.code ?? e.error?.code ?? String(e.message ?? e), args: e.args }
  }
  return out[name]
}

async function main() {
  const ks = await step('start', new (types('SessionStartAction'))({ secret, userId: 'tester', type: 2, partnerId: 102, expiry: 3600 }))
  client.ks = ks
  client.setDefaultRequestOptions?.({ ks, partnerId: 102 })
  const Entry = types('KalturaLiveStreamEntry')
  const withKS = (action, data) => Object.assign(new (types(action))(data), { ks, partnerId: 102 })
  const added = await step('add', withKS('LiveStreamAddAction', { liveStreamEntry: new Entry({ name: 'From a browser', dvrStatus: 1 }), sourceType: types('KalturaSourceType').liveStream }))
  await step('get', withKS('LiveStreamGetAction', { entryId: added.id }))
  await step('list', withKS('LiveStreamListAction', { filter: new (types('KalturaLiveStreamEntryFilter'))({ idEqual: added.id }) }))
  await step('wrongToken', withKS('LiveStreamAuthenticateAction', { entryId: added.id, token: 'wrong' }))
  const where = { entryId: added.id, hostname: 'ms1.example.com', mediaServerIndex: types('KalturaEntryServerNodeType').livePrimary }
  await step('register', withKS('LiveStreamRegisterMediaServerAction', where))
  // This client takes the answer false for none at all, so it asks while the entry is live.
  await step('isLive', withKS('LiveStreamIsLiveAction', { id: added.id, protocol: types('KalturaPlaybackProtocol').hls }))
  await step('unregister', withKS('LiveStreamUnregisterMediaServerAction', where))
  const multi = new KalturaMultiRequest(
    withKS('LiveStreamListAction', { filter: new (types('KalturaLiveStreamEntryFilter'))({ idEqual: added.id }) }),
    withKS('LiveStreamGetAction', { entryId: '' }).setDependency(['entryId', 0, 'objects:0:id']),
    withKS('LiveStreamGetAction', { entryId: '0_zzzzzzzz' }))
  out.multi = (await client.multiRequest(multi)).map((r) => r.result ?? { failed: r.error.code })
  const token = await step('tokenAdd', withKS('UploadTokenAddAction', {}))
  const file = new File([Buffer.alloc(Number(size), 'k')], 'clip.mp4')
  await step('tokenUpload', withKS('UploadTokenUploadAction', { uploadTokenId: token.id, fileData: file }))
  await step('delete', withKS('LiveStreamDeleteAction', { entryId: added.id }))
  await step('gone', withKS('LiveStreamGetAction', { entryId: added.id }))
  process.stdout.write(JSON.stringify(out) + '\n')
}
main().catch((e) => { process.stderr.write(String(e.stack) + '\n'); process.exit(1) })
