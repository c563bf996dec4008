// CloudFront function at viewer request.
//
// CloudFront tidies paths to choose a behaviour, and sends them on as they came: "x/../y" would be
// another address to it, and to who signs addresses with wildcards, than to the origin and the
// bucket. No address of klive's has such parts, so they go no further.
//
// Kaltura's players ask for the DVR window by "?DVR", a
// name without a value. The bucket, which answers when no origin does, knows no queries: there the
// same playlist is the file playlist-dvr.m3u8. So the name goes into the path, here for both.
function handler(event) {
  var request = event.request;
  if (/\/\.{0,2}\/|\/\.{1,2}$|\\|%2e|%2f|%5c/i.test(request.uri)) {
    return { statusCode: 404, statusDescription: 'Not Found', headers: { 'cache-control': { value: 'no-store' } } };
  }
  var dvr = request.querystring.DVR;
  var first = dvr && (dvr.multiValue || [dvr])[0].value;
  if (first === '0' || first === 'false') {
    delete request.querystring.DVR; // as the origin reads it
    return request;
  }
  if (dvr && /\/playlist\.m3u8$/.test(request.uri)) {
    request.uri = request.uri.replace(/\/playlist\.m3u8$/, '/playlist-dvr.m3u8');
    delete request.querystring.DVR;
  }
  return request;
}
