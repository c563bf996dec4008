output "publish" {
  description = "Where encoders publish to; entry, index and token are in what follows."
  value = merge({
    rtmp  = "rtmp://${local.hosts.ingest}:${var.ingest_ports.rtmp}/kLive/?p=<partner>&e=<entry>&i=<0 or 1>&t=<token>/<entry>_1"
    rtmps = "rtmps://${local.hosts.ingest}:443/kLive/?p=<partner>&e=<entry>&i=<0 or 1>&t=<token>/<entry>_1"
    srt   = "srt://${local.hosts.ingest}:${var.ingest_ports.srt}?streamid=#!::r=<entry>_1,m=publish,u=<partner>,i=<0 or 1>,s=<token>"
    }, var.http_ingest ? { push = "https://${local.hosts.push}/ingest/<entry>_1?p=<partner>&i=<0 or 1>&t=<token>" } : {},
  var.webrtc ? { whip = "https://${local.hosts.push}/whip/<entry>_1?p=<partner>&i=<0 or 1>" } : {})
}

output "play" {
  description = "Where viewers play from."
  value = {
    live = "https://${local.viewer}/kLive/smil:<entry>_all.smil/playlist.m3u8"
    dvr  = "https://${local.viewer}/kLive/smil:<entry>_all.smil/playlist.m3u8?DVR"
  }
}

output "kaltura" {
  description = "What to enter at Kaltura: the server node's host name, the broadcast configuration, and the live delivery profile."
  value = {
    server_node_hostname = local.hosts.ingest
    broadcast = {
      domain      = local.hosts.ingest
      application = "kLive"
      rtmp_port   = var.ingest_ports.rtmp
      rtmps_port  = 443
      srt_port    = var.ingest_ports.srt
    }
    delivery_profile = { url = "https://${local.viewer}", application = "kLive", type = "LIVE_HLS" }
  }
}

output "names" {
  description = "DNS names to enter when hosted_zone_id is null, and what they lead to. origin.<domain> needs none."
  value = merge({ (local.hosts.ingest) = module.ingest.network.dns_name },
    var.http_ingest || var.webrtc ? { (local.hosts.push) = module.ingest.https.dns_name } : {},
  var.viewer_domain == null ? {} : { (var.viewer_domain) = module.cdn.domain })
}

output "buckets" {
  description = "The buckets."
  value       = { live = module.storage.live.id, recordings = module.storage.recordings.id }
}

output "dashboard" {
  description = "Name of the CloudWatch dashboard."
  value       = module.observability.dashboard
}
