# Everything that can be set, set.
module "klive" {
  source = "../.."

  name            = "acme-live"
  region          = "eu-west-1"
  zones           = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  domain          = "live.example.com"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  secret_arn      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-AbCdEf"

  vpc_cidr           = "10.60.0.0/18"
  tags               = { Team = "live" }
  bus_tls_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-bus-AbCdEf"
  bus                = { instance_type = "r7g.xlarge", volume_gib = 100, memory_mib = 16384 }
  kaltura            = { url = "https://kaltura.example.com", partner_id = 102, status = "off" }
  images = {
    gateway = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-gateway:1.0.0"
    worker  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-worker:1.0.0"
  }
  hosted_zone_id            = "Z0123456789ABCDEFGHIJ"
  gateways                  = { cpu = 2048, memory = 4096, min = 3, max = 40 }
  feeds_per_gateway         = 100
  ingest_cidrs              = ["203.0.113.0/24", "198.51.100.0/24"]
  webrtc                    = true
  owners                    = { cpu = 2048, memory = 8192, count = 4 }
  transcode                 = { cpu = 8192, memory = 16384, min = 2, max = 40 }
  transcode_backlog_seconds = 1
  origins                   = { cpu = 2048, memory = 4096, min = 3, max = 20 }
  media_days                = 30
  recording_needs_days      = 14
  recordings_days           = 90
  log_retention_days        = 90
  viewer_domain             = "watch.example.com"
  viewer_certificate_arn    = "arn:aws:acm:us-east-1:123456789012:certificate/11111111-1111-1111-1111-111111111111"
  signing_keys              = { first = file("${path.module}/viewer.pem") }
  waf                       = { enabled = true, requests = 10000 }
  cors_origins              = ["https://www.example.com"]
  price_class               = "PriceClass_All"
  alarm_topic_arns          = ["arn:aws:sns:eu-west-1:123456789012:on-call"]
}
