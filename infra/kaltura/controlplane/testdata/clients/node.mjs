// Makes calls with Kaltura's client for Node and prints what came of each as one JSON object.
// Arguments: the API's address, the admin secret of partner 102, a file to upload.
import kaltura from 'kaltura-client'

const [url, secret, file] = process.argv.slice(2)
const { services, objects, enums } = kaltura
const config = new kaltura.Configuration()
config.serviceUrl = url
config.setLogger?.({ log() {} })
console.log = () => {} // the client tells of each request there
const client = new kaltura.Client(config)
const out = {}

/** Runs a request and keeps its answer, or its error's code and arguments. */
async function step(name, request) {
  try {
    out[name] = await request.execute(client)
  } catch (e) {
    out[name] = { failed: e.code ?? String(e), message: e.message, args: e.args }
  }
  return out[name]
}

const ks = await step('start', services.session.start(secret, 'tester', enums.SessionType.ADMIN, 102, 3600, 'disableentitlement'))
client.setKs(ks)
client.setPartnerId(102)

const entry = new objects.LiveStreamEntry()
entry.name = 'Board "meeting" & more'
entry.dvrStatus = enums.DVRStatus.ENABLED
entry.dvrWindow = 30
const added = await step('add', services.liveStream.add(entry, enums.SourceType.LIVE_STREAM))
const id = added.id
await step('get', services.liveStream.get(id))
const change = new objects.LiveStreamEntry()
change.description = 'näxt'
await step('update', services.liveStream.update(id, change))
await step('list', services.liveStream.listAction(new objects.LiveStreamEntryFilter({ idEqual: id }), new objects.FilterPager({ pageSize: 5, pageIndex: 1 })))
await step('authenticate', services.liveStream.authenticate(id, added.streamPassword, 'ms1.example.com', enums.EntryServerNodeType.LIVE_PRIMARY, 'kLive'))
await step('wrongToken', services.liveStream.authenticate(id, 'wrong'))
await step('broadcasting', services.liveStream.registerMediaServer(id, 'ms1.example.com', enums.EntryServerNodeType.LIVE_PRIMARY, 'kLive', enums.EntryServerNodeStatus.BROADCASTING))
await step('playable', services.liveStream.registerMediaServer(id, 'ms1.example.com', enums.EntryServerNodeType.LIVE_PRIMARY, 'kLive', enums.EntryServerNodeStatus.PLAYABLE))
await step('isLive', services.liveStream.isLive(id, enums.PlaybackProtocol.HLS))
await step('details', services.liveStream.getDetails(id))
await step('nodes', services.entryServerNode.listAction(new objects.EntryServerNodeFilter({ entryIdEqual: id })))
await step('unregister', services.liveStream.unregisterMediaServer(id, 'ms1.example.com', enums.EntryServerNodeType.LIVE_PRIMARY))

// A multirequest with references, and one with a file.
await step('multi', services.liveStream.get(id)
  .add(services.conversionProfileAssetParams.listAction(new objects.ConversionProfileAssetParamsFilter({ conversionProfileIdEqual: '{1:result:conversionProfileId}' })))
  .add(services.flavorAsset.listAction(new objects.LiveAssetFilter({ entryIdEqual: '{1:result:id}' })))
  .add(services.flavorParams.get('{2:result:objects:0:assetParamsId}'))
  .add(services.liveStream.get('0_zzzzzzzz')))
const token = new objects.UploadToken()
token.fileName = 'clip.mp4'
await step('upload', services.uploadToken.add(token).add(services.uploadToken.upload('{1:result:id}', file)))
const single = await step('tokenAdd', services.uploadToken.add())
await step('tokenUpload', services.uploadToken.upload(single.id, file))

await step('profile', services.flavorParams.getByConversionProfileId(added.conversionProfileId))
await step('regenerate', services.liveStream.regenerateStreamToken(id))
await step('delete', services.liveStream.deleteAction(id))
await step('gone', services.liveStream.get(id))
await step('end', services.session.end())
await step('ended', services.liveStream.listAction())

process.stdout.write(JSON.stringify(out) + '\n')
