// CloudFront function at viewer request.
//
// CloudFront tidies paths to choose a behaviour, and sends them on as they came: "x/../y" would be
// another address to it, and to who signs addresses with wildcards, than to the origin and the
// bucket. No address of klive's has such parts, so they go no further.
//
// Kaltura's players ask for the DVR window by "?DVR", a
// name without a value. The bucket, which answers when no origin does, knows no queries: there the
// same playlist is the file playlist-dvr.m3u8. So the name goes into the path, here for both.
//
// A viewer's token in the query is no part of a cache's key and does not reach the origin. So it goes into the path
// here, as the origin would have it; whether it is good is the origin's to say. A token has nothing that is escaped in it.
function handler(event) {
  var request = event.request;
  if (/\/\.{0,2}\/|\/\.{1,2}$|\\|%2e|%2f|%5c/i.test(request.uri)) {
    return { statusCode: 404, statusDescription: 'Not Found', headers: { 'cache-control': { value: 'no-store' } } };
  }
  var token = values(request.querystring.token)[0] || '';
  if (token.length <= 256 && /^[\w-]+(\.[\w-]+){3}$/.test(token) && /^\/(kLive|live)\//.test(request.uri) && /^(GET|HEAD)$/.test(request.method)) {
    return redirect('/t/' + token + request.uri + query(request.querystring));
  }
  var dvr = request.querystring.DVR;
  var first = values(dvr)[0];
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

// values are those of a name of the query, as they are written.
function values(name) {
  return name ? (name.multiValue || [name]).map(function (v) { return v.value; }) : [];
}

// query is what stays of a query without its token. What CloudFront may have decoded is left out.
function query(names) {
  var pairs = [];
  Object.keys(names).forEach(function (name) {
    values(names[name]).forEach(function (value) {
      var pair = value === '' ? name : name + '=' + value;
      if (name !== 'token' && /^[\w.,~%=-]+$/.test(pair)) {
        pairs.push(pair);
      }
    });
  });
  return pairs.length ? '?' + pairs.join('&') : '';
}

// redirect is one viewer's: nobody keeps it.
function redirect(location) {
  return {
    statusCode: 302,
    statusDescription: 'Found',
    headers: { location: { value: location }, 'cache-control': { value: 'private, no-store' }, 'access-control-allow-origin': { value: '*' } },
  };
}
