# Rules of the modules, each run by itself: a test can't expect failures inside a child module.
mock_provider "aws" {
  source = "./tests/mocks"
}

run "storage_good" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 14
    recording_needs_days = 7
    recordings_days      = 0
    force_destroy        = false
    cors_origins         = ["*"]
  }
  assert {
    condition     = alltrue([for b in aws_s3_bucket.this : !b.force_destroy])
    error_message = "A destroy would remove buckets that hold something."
  }
}

run "network_good" {
  command = plan
  module {
    source = "./modules/network"
  }
  variables {
    name               = "acme"
    cidr               = "10.40.0.0/16"
    zones              = ["eu-west-1a", "eu-west-1b"]
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
}

run "task_good" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = { KLIVE_DATA = "/data" }
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 2048
    stop_timeout       = 120
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  assert {
    condition = alltrue([for c in jsondecode(aws_ecs_task_definition.this.container_definitions) :
    c.readonlyRootFilesystem && c.user == "65532:65532" && c.stopTimeout == 120 && c.healthCheck.command == ["CMD", "/klive", "health", "--alive"]])
    error_message = "A task has a read-only root, no root user, two minutes to stop and klive's own check whether it lives."
  }
  assert {
    condition = alltrue(flatten([for c in jsondecode(aws_ecs_task_definition.this.container_definitions) : [
    for k, v in merge(c, c.linuxParameters, c.linuxParameters.capabilities) : try(length(v) > 0, v != null)]]))
    error_message = "A task definition has empty lists, which ECS leaves out: every plan would find a difference."
  }
}

run "cdn_good" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
}

run "ingest_good" {
  command = plan
  module {
    source = "./modules/ingest"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    http_ingest       = true
    webrtc            = false
    allowed_cidrs     = ["0.0.0.0/0"]
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    feeds_per_task    = 50
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
}

run "worker_good" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 1, max = 4 }
    backlog_seconds       = 2
    gpu                   = { enabled = false, instance_type = "g4dn.xlarge", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
}

run "origin_good" {
  command = plan
  module {
    source = "./modules/origin"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    live_bucket_arn   = "arn:aws:s3:::b"
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
}

run "bus_good" {
  command = plan
  module {
    source = "./modules/bus"
  }
  variables {
    name                      = "acme"
    vpc_id                    = "vpc-1"
    subnets                   = { a = "subnet-1", b = "subnet-2", c = "subnet-3" }
    client_security_group_ids = { worker = "sg-1" }
    image                     = "r/i:1"
    instance_type             = "r7g.large"
    volume_gib                = 50
    memory_mib                = 8192
    secret_arn                = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a"
    tls_secret_arn            = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b"
    kms_key_arn               = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days        = 30
    secret_key_arns           = []
    architecture              = "ARM64"
    namespace                 = "klive/acme"
  }
}

run "storage_media_days" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 1
    recording_needs_days = 7
    recordings_days      = 0
    force_destroy        = false
    cors_origins         = ["*"]
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.live]
}

run "storage_recordings_days" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 14
    recording_needs_days = 7
    recordings_days      = 3
    force_destroy        = false
    cors_origins         = ["*"]
  }
  expect_failures = [aws_s3_bucket_lifecycle_configuration.recordings]
}

run "storage_media_zero" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 0
    recording_needs_days = 7
    recordings_days      = 0
    force_destroy        = false
    cors_origins         = ["*"]
  }
  expect_failures = [var.media_days]
}

run "storage_needs_half" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 14
    recording_needs_days = 0.5
    recordings_days      = 0
    force_destroy        = false
    cors_origins         = ["*"]
  }
  expect_failures = [var.recording_needs_days]
}

run "storage_recordings_half" {
  command = plan
  module {
    source = "./modules/storage"
  }
  variables {
    name                 = "acme"
    kms_key_arn          = "arn:aws:kms:eu-west-1:123456789012:key/1"
    media_days           = 14
    recording_needs_days = 7
    recordings_days      = 0.5
    force_destroy        = false
    cors_origins         = ["*"]
  }
  expect_failures = [var.recordings_days]
}

run "network_cidr" {
  command = plan
  module {
    source = "./modules/network"
  }
  variables {
    name               = "acme"
    cidr               = "10.0.0.0/30"
    zones              = ["eu-west-1a", "eu-west-1b"]
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [var.cidr]
}

run "network_zones" {
  command = plan
  module {
    source = "./modules/network"
  }
  variables {
    name               = "acme"
    cidr               = "10.40.0.0/16"
    zones              = ["a"]
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [var.zones]
}

run "task_cpu" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1000
    memory             = 2048
    stop_timeout       = 120
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [var.cpu]
}

run "task_memory" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 1024
    stop_timeout       = 120
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "task_memory_high" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 16384
    stop_timeout       = 120
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [aws_ecs_task_definition.this]
}

run "task_stop" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 2048
    stop_timeout       = 300
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [var.stop_timeout]
}

run "task_architecture" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 2048
    stop_timeout       = 120
    architecture       = "arm"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
  }
  expect_failures = [var.architecture]
}

run "task_spool" {
  command = plan
  module {
    source = "./modules/task"
  }
  variables {
    name               = "acme/x"
    image              = "r/i:1"
    init_image         = "r/i:1"
    command            = ["origin"]
    environment        = {}
    secrets            = {}
    bus_ca             = null
    secret_arns        = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"]
    secret_key_arns    = []
    policy_json        = "{}"
    cpu                = 1024
    memory             = 2048
    stop_timeout       = 120
    architecture       = "ARM64"
    kms_key_arn        = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days = 30
    spool_gib          = 5
  }
  expect_failures = [var.spool_gib]
}

run "cdn_alias" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = ["watch.example.com"]
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [aws_cloudfront_distribution.this]
}

run "cdn_playlist" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 60
    aliases          = []
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [var.playlist_seconds]
}

run "cdn_certificate" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = "arn:aws:acm:eu-west-1:1:certificate/x"
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [var.certificate_arn]
}

run "cdn_keys" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = null
    signing_keys     = { a = "x" }
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [var.signing_keys]
}

run "cdn_waf" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 1
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [var.waf_requests]
}

run "cdn_price" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = null
    waf              = false
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "x"
  }
  expect_failures = [var.price_class]
}

run "cdn_waf_twice" {
  command = plan
  module {
    source = "./modules/cdn"
  }
  variables {
    name             = "acme"
    origin           = { balancer_arn = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/a/1", domain = "origin.example.com" }
    bucket           = { id = "b", arn = "arn:aws:s3:::b", domain = "b.s3.eu-west-1.amazonaws.com", prefix = "klive" }
    playlist_seconds = 2
    aliases          = []
    certificate_arn  = null
    signing_keys     = {}
    web_acl_arn      = "arn:aws:wafv2:us-east-1:123456789012:global/webacl/a/1"
    waf              = true
    waf_requests     = 5000
    cors_origins     = ["*"]
    price_class      = "PriceClass_100"
  }
  expect_failures = [aws_cloudfront_distribution.this]
}

run "ingest_ports" {
  command = plan
  module {
    source = "./modules/ingest"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    http_ingest       = true
    webrtc            = false
    allowed_cidrs     = ["0.0.0.0/0"]
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    feeds_per_task    = 50
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
    ports = { rtmp = 8080 }
  }
  expect_failures = [var.ports]
}

run "ingest_cidrs" {
  command = plan
  module {
    source = "./modules/ingest"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    http_ingest       = true
    webrtc            = false
    allowed_cidrs     = []
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    feeds_per_task    = 50
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.allowed_cidrs]
}

run "ingest_size" {
  command = plan
  module {
    source = "./modules/ingest"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    http_ingest       = true
    webrtc            = false
    allowed_cidrs     = ["0.0.0.0/0"]
    size              = { cpu = 1024, memory = 2048, min = 5, max = 4 }
    feeds_per_task    = 50
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.size]
}

run "ingest_feeds" {
  command = plan
  module {
    source = "./modules/ingest"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    http_ingest       = true
    webrtc            = false
    allowed_cidrs     = ["0.0.0.0/0"]
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    feeds_per_task    = 0
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.feeds_per_task]
}

run "worker_owners" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 1 }
    transcode             = { cpu = 4096, memory = 8192, min = 1, max = 4 }
    backlog_seconds       = 2
    gpu                   = { enabled = false, instance_type = "g4dn.xlarge", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.owners]
}

run "worker_transcode" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 3, max = 1 }
    backlog_seconds       = 2
    gpu                   = { enabled = false, instance_type = "g4dn.xlarge", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.transcode]
}

run "worker_transcode_none_at_first" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 0, max = 4 }
    backlog_seconds       = 2
    gpu                   = { enabled = false, instance_type = "g4dn.xlarge", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.transcode]
}

run "worker_gpu_alone" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 1, max = 4 }
    backlog_seconds       = 2
    gpu                   = { enabled = true, instance_type = "g4dn.xlarge", min = 1, max = 1 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.gpu]
}

run "observability_every" {
  command = plan
  module {
    source = "./modules/observability"
  }
  variables {
    name             = "acme"
    region           = "eu-west-1"
    namespace        = "klive/acme"
    log_groups       = { owner = "/acme/owner" }
    certificate_arn  = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    alarm_topic_arns = []
    backlog_seconds  = 4
    metrics_every    = 120
    bus              = false
  }
  expect_failures = [var.metrics_every]
}

run "worker_backlog" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 1, max = 4 }
    backlog_seconds       = 60
    gpu                   = { enabled = false, instance_type = "g4dn.xlarge", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.backlog_seconds]
}

run "worker_gpu" {
  command = plan
  module {
    source = "./modules/worker"
  }
  variables {
    name                  = "acme"
    image                 = "r/i:1"
    gpu_image             = null
    subnets               = { a = "subnet-1" }
    security_group_id     = "sg-1"
    live_bucket_arn       = "arn:aws:s3:::b"
    recordings_bucket_arn = "arn:aws:s3:::r"
    owners                = { cpu = 1024, memory = 4096, count = 3 }
    transcode             = { cpu = 4096, memory = 8192, min = 1, max = 4 }
    backlog_seconds       = 2
    gpu                   = { enabled = true, instance_type = "m5.large", min = 1, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.gpu]
}

run "origin_port" {
  command = plan
  module {
    source = "./modules/origin"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    live_bucket_arn   = "arn:aws:s3:::b"
    size              = { cpu = 1024, memory = 2048, min = 2, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
    port = 0
  }
  expect_failures = [var.port]
}

run "origin_size" {
  command = plan
  module {
    source = "./modules/origin"
  }
  variables {
    name              = "acme"
    image             = "r/i:1"
    subnets           = { a = "subnet-1" }
    security_group_id = "sg-1"
    certificate_arn   = "arn:aws:acm:eu-west-1:123456789012:certificate/x"
    live_bucket_arn   = "arn:aws:s3:::b"
    size              = { cpu = 1024, memory = 2048, min = 0, max = 4 }
    deployment = {
      cluster_arn = "arn:aws:ecs:eu-west-1:123456789012:cluster/acme", cluster_name = "acme", vpc_id = "vpc-1"
      kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:key/1", log_retention_days = 30, environment = {}, secrets = {}, bus_ca = null
      secret_arns = ["arn:aws:secretsmanager:eu-west-1:123456789012:secret:acme"], secret_key_arns = [], init_image = "r/i:1", architecture = "ARM64", namespace = "klive/acme"
    }
  }
  expect_failures = [var.size]
}

run "bus_volume" {
  command = plan
  module {
    source = "./modules/bus"
  }
  variables {
    name                      = "acme"
    vpc_id                    = "vpc-1"
    subnets                   = { a = "subnet-1", b = "subnet-2", c = "subnet-3" }
    client_security_group_ids = { worker = "sg-1" }
    image                     = "r/i:1"
    instance_type             = "r7g.large"
    volume_gib                = 1
    memory_mib                = 8192
    secret_arn                = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a"
    tls_secret_arn            = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b"
    kms_key_arn               = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days        = 30
    secret_key_arns           = []
    architecture              = "ARM64"
    namespace                 = "klive/acme"
  }
  expect_failures = [var.volume_gib]
}

run "bus_zones" {
  command = plan
  module {
    source = "./modules/bus"
  }
  variables {
    name                      = "acme"
    vpc_id                    = "vpc-1"
    subnets                   = { a = "subnet-1" }
    client_security_group_ids = { worker = "sg-1" }
    image                     = "r/i:1"
    instance_type             = "r7g.large"
    volume_gib                = 50
    memory_mib                = 8192
    secret_arn                = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:a"
    tls_secret_arn            = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:b"
    kms_key_arn               = "arn:aws:kms:eu-west-1:123456789012:key/1"
    log_retention_days        = 30
    secret_key_arns           = []
    architecture              = "ARM64"
    namespace                 = "klive/acme"
  }
  expect_failures = [aws_autoscaling_group.this]
}
