# Each wrong variable is refused at plan with a sentence that says what to set.
mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name               = "acme-live"
  region             = "eu-west-1"
  zones              = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
  domain             = "live.example.com"
  certificate_arn    = "arn:aws:acm:eu-west-1:123456789012:certificate/00000000-0000-0000-0000-000000000000"
  secret_arn         = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-AbCdEf"
  bus_tls_secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live-bus-AbCdEf"
  kaltura            = { url = "https://kaltura.example.com" }
  images = {
    gateway = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-gateway:1.0.0"
    worker  = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/klive-worker:1.0.0"
  }
}

run "name" {
  command = plan
  variables {
    name = "Acme_Live"
  }
  expect_failures = [var.name]
}

run "region" {
  command = plan
  variables {
    region = "Ireland"
  }
  expect_failures = [var.region]
}

run "zones_one" {
  command = plan
  variables {
    zones = ["eu-west-1a"]
  }
  expect_failures = [var.zones]
}

run "zones_twice" {
  command = plan
  variables {
    zones = ["eu-west-1a", "eu-west-1a", "eu-west-1b"]
  }
  expect_failures = [var.zones]
}

run "cidr" {
  command = plan
  variables {
    vpc_cidr = "10.40.0.0/28"
  }
  expect_failures = [var.vpc_cidr]
}

run "cidr_text" {
  command = plan
  variables {
    vpc_cidr = "ten"
  }
  expect_failures = [var.vpc_cidr]
}

run "image_latest" {
  command = plan
  variables {
    images = { gateway = "r.example.com/klive:latest", worker = "r.example.com/klive:1" }
  }
  expect_failures = [var.images]
}

run "architecture" {
  command = plan
  variables {
    architecture = "amd64"
  }
  expect_failures = [var.architecture]
}

run "domain" {
  command = plan
  variables {
    domain = "https://live.example.com"
  }
  expect_failures = [var.domain]
}

run "certificate" {
  command = plan
  variables {
    certificate_arn = "fullchain.pem"
  }
  expect_failures = [var.certificate_arn]
}

run "secret" {
  command = plan
  variables {
    secret_arn = "hunter2"
  }
  expect_failures = [var.secret_arn]
}

run "secret_without_its_end" {
  command = plan
  variables {
    secret_arn = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme-live"
  }
  expect_failures = [var.secret_arn]
}

run "kaltura_url" {
  command = plan
  variables {
    kaltura = { url = "http://kaltura.example.com" }
  }
  expect_failures = [var.kaltura]
}

run "kaltura_status" {
  command = plan
  variables {
    kaltura = { url = "https://kaltura.example.com", status = "always" }
  }
  expect_failures = [var.kaltura]
}

run "bus_secret" {
  command = plan
  variables {
    bus_tls_secret_arn = "bus"
  }
  expect_failures = [var.bus_tls_secret_arn]
}

run "bus_type" {
  command = plan
  variables {
    bus = { instance_type = "large" }
  }
  expect_failures = [var.bus]
}

run "bus_of_another_processor" {
  command = plan
  variables {
    bus = { instance_type = "m5.large" }
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "bus_of_another_processor_x86" {
  command = plan
  variables {
    architecture = "X86_64"
    bus          = { instance_type = "r7g.large" }
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "bus_ca" {
  command = plan
  variables {
    bus_tls_secret_arn = null
    bus_external       = { url = "tls://nats.example.com:4222", ca_secret = "ca.pem" }
  }
  expect_failures = [var.bus_external]
}

run "bus_volume" {
  command = plan
  variables {
    bus = { volume_gib = 5 }
  }
  expect_failures = [var.bus]
}

run "bus_external" {
  command = plan
  variables {
    bus_external = { url = "nats://plain.example.com:4222" }
  }
  expect_failures = [var.bus_external]
}

run "feeds" {
  command = plan
  variables {
    feeds_per_gateway = 0
  }
  expect_failures = [var.feeds_per_gateway]
}

run "ingest_cidr" {
  command = plan
  variables {
    ingest_cidrs = ["everyone"]
  }
  expect_failures = [var.ingest_cidrs]
}

run "port_high" {
  command = plan
  variables {
    ingest_ports = { srt = 70000 }
  }
  expect_failures = [var.ingest_ports]
}

run "ports_equal" {
  command = plan
  variables {
    ingest_ports = { http = 1935 }
  }
  expect_failures = [var.ingest_ports]
}

run "backlog" {
  command = plan
  variables {
    transcode_backlog_seconds = 60
  }
  expect_failures = [var.transcode_backlog_seconds]
}

run "media_days" {
  command = plan
  variables {
    media_days = 0
  }
  expect_failures = [var.media_days]
}

run "needs_days" {
  command = plan
  variables {
    recording_needs_days = 0.5
  }
  expect_failures = [var.recording_needs_days]
}

run "recordings_days" {
  command = plan
  variables {
    recordings_days = -1
  }
  expect_failures = [var.recordings_days]
}

run "log_days" {
  command = plan
  variables {
    log_retention_days = 42
  }
  expect_failures = [var.log_retention_days]
}

run "viewer_certificate" {
  command = plan
  variables {
    viewer_certificate_arn = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
  }
  expect_failures = [var.viewer_certificate_arn]
}

run "signing_key" {
  command = plan
  variables {
    signing_keys = { one = "secret" }
  }
  expect_failures = [var.signing_keys]
}

run "waf" {
  command = plan
  variables {
    waf = { enabled = true, requests = 1 }
  }
  expect_failures = [var.waf]
}

run "cors" {
  command = plan
  variables {
    cors_origins = ["www.example.com"]
  }
  expect_failures = [var.cors_origins]
}

run "price" {
  command = plan
  variables {
    price_class = "cheap"
  }
  expect_failures = [var.price_class]
}

run "topic" {
  command = plan
  variables {
    alarm_topic_arns = ["me@example.com"]
  }
  expect_failures = [var.alarm_topic_arns]
}

run "bus_without_certificate" {
  command = plan
  variables {
    bus_tls_secret_arn = null
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "bus_twice" {
  command = plan
  variables {
    bus_external = { url = "tls://nats.example.com:4222" }
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "zones_of_another_region" {
  command = plan
  variables {
    region          = "us-east-1"
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "certificate_of_another_region" {
  command = plan
  variables {
    certificate_arn = "arn:aws:acm:us-east-1:123456789012:certificate/x"
  }
  expect_failures = [aws_ecs_cluster.this]
}

run "gpu_of_another_processor" {
  command = plan
  variables {
    gpu = { enabled = true }
  }
  expect_failures = [aws_ecs_cluster.this]
}

# What is allowed beside what the examples have.
run "external_authority" {
  command = plan
  variables {
    bus_tls_secret_arn = null
    bus_external       = { url = "tls://nats.example.com:4222", ca_secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-AbCdEf:ca::" }
  }
  assert {
    condition     = contains(local.deployment.secret_arns, "arn:aws:secretsmanager:eu-west-1:123456789012:secret:nats-AbCdEf")
    error_message = "Tasks are not allowed to read the authority of the NATS cluster."
  }
}

run "x86" {
  command = plan
  variables {
    architecture = "X86_64"
  }
}
