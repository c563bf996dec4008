# Transcoding on GPUs, and a NATS cluster that is there already.
module "klive" {
  source = "../.."

  name            = "acme-live"
  region          = "eu-west-1"
  zones           = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  domain          = "live.example.com"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  secret_arn      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-AbCdEf"

  bus_external = { url = "tls://nats-1.example.com:4222,tls://nats-2.example.com:4222,tls://nats-3.example.com:4222" }
  kaltura      = { url = "https://kaltura.example.com" }
  architecture = "X86_64"
  images = {
    gateway = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-gateway:1.0.0"
    worker  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-worker:1.0.0"
  }
  transcode = { cpu = 4096, memory = 14336 }
  gpu       = { enabled = true, instance_type = "g4dn.xlarge", min = 1, max = 6 }
  webrtc    = false
}
