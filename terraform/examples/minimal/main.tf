# The least that has to be said.
module "klive" {
  source = "../.."

  name            = "acme-live"
  region          = "eu-west-1"
  zones           = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  domain          = "live.example.com"
  certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  secret_arn      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-AbCdEf"

  bus_tls_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-bus-AbCdEf"
  kaltura            = { url = "https://kaltura.example.com" }
  images = {
    gateway = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-gateway:1.0.0"
    worker  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-worker:1.0.0"
  }
}
