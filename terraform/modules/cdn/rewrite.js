// CloudFront function at viewer request. Kaltura's players ask for the DVR window by "?DVR", a
// name without a value. The bucket, which answers when no origin does, knows no queries: there the
// same playlist is the file playlist-dvr.m3u8. So the name goes into the path, here for both.
function handler(event) {
  var request = event.request;
  var dvr = request.querystring.DVR;
  if (dvr && /\/playlist\.m3u8$/.test(request.uri)) {
    request.uri = request.uri.replace(/\/playlist\.m3u8$/, '/playlist-dvr.m3u8');
    delete request.querystring.DVR;
  }
  return request;
}
