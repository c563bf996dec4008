# One klive: gateways, workers, origins and the bus in one VPC, two buckets, and a CDN.
locals {
  namespace = "klive/${var.name}"
  managed   = var.bus_external == null
  bus       = local.managed ? { bus = true } : {}
  bus_url   = local.managed ? module.bus["bus"].url : var.bus_external.url
  internal  = 8082

  # Seconds between two values of a metric from one process.
  metrics_every = 15

  insights = "/aws/ecs/containerinsights/${var.name}/performance"
  arm      = var.architecture == "ARM64"
  hosts    = { ingest = "ingest.${var.domain}", push = "push.${var.domain}", origin = "origin.${var.domain}" }
  viewer   = coalesce(var.viewer_domain, module.cdn.domain)
  # The secret that bus_external.ca_secret is a part of: an ARN is seven fields.
  external_ca = try(join(":", slice(split(":", var.bus_external.ca_secret), 0, 7)), null)

  deployment = {
    cluster_arn        = aws_ecs_cluster.this.arn
    cluster_name       = aws_ecs_cluster.this.name
    vpc_id             = module.network.vpc_id
    kms_key_arn        = aws_kms_key.this.arn
    log_retention_days = var.log_retention_days
    init_image         = var.images.worker
    architecture       = var.architecture
    namespace          = local.namespace
    secret_key_arns    = compact([var.secret_kms_key_arn])
    secret_arns        = compact([var.secret_arn, local.managed ? var.bus_tls_secret_arn : local.external_ca])
    bus_ca             = local.managed ? "${coalesce(var.bus_tls_secret_arn, "unset")}:ca::" : var.bus_external.ca_secret
    environment = {
      KLIVE_LOG_FORMAT                     = "json"
      KLIVE_DATA                           = "/data"
      KLIVE_TELEMETRY_CLOUDWATCH_NAMESPACE = local.namespace
      KLIVE_TELEMETRY_CLOUDWATCH_EVERY     = "${local.metrics_every}s"
      KLIVE_BUS_URL                        = local.bus_url
      KLIVE_BUS_USER                       = "klive"
      KLIVE_BUS_REPLICAS                   = tostring(local.managed ? 3 : var.bus_external.replicas)
      KLIVE_STORAGE_URL                    = "s3://${module.storage.live.id}/${module.storage.live.prefix}?region=${var.region}"
      KLIVE_STORAGE_RECORDINGS_URL         = "s3://${module.storage.recordings.id}/${module.storage.live.prefix}?region=${var.region}"
      KLIVE_STORAGE_ENCRYPTION             = "aws:kms"
      KLIVE_STORAGE_KMS_KEY                = aws_kms_key.this.arn
      KLIVE_KALTURA_URL                    = var.kaltura.url
      KLIVE_KALTURA_PARTNER_ID             = tostring(var.kaltura.partner_id)
      KLIVE_KALTURA_STATUS                 = var.kaltura.status
      KLIVE_KALTURA_HOSTNAME               = local.hosts.ingest
      KLIVE_INTERNAL_LISTEN                = ":${local.internal}"
      KLIVE_HTTP_TRUSTED_PROXIES           = var.vpc_cidr # where the HTTPS load balancers stand
      KLIVE_RTMP_PUBLIC_URL                = "rtmp://${local.hosts.ingest}:${var.ingest_ports.rtmp}"
      KLIVE_WHIP_PUBLIC_URL                = "https://${local.hosts.push}"
    }
    secrets = {
      KLIVE_KALTURA_SECRET = "${var.secret_arn}:kaltura::"
      KLIVE_CLUSTER_SECRET = "${var.secret_arn}:cluster::"
      KLIVE_ADMIN_TOKEN    = "${var.secret_arn}:adminToken::"
      KLIVE_BUS_PASSWORD   = "${var.secret_arn}:busPassword::"
    }
  }
}

data "aws_caller_identity" "this" {}

data "aws_iam_policy_document" "key" {
  statement {
    sid       = "Account"
    actions   = ["kms:*"]
    resources = ["*"] # in a key's policy: this key
    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:root"]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["logs.${var.region}.amazonaws.com"]
    }
    condition {
      test     = "ArnLike"
      variable = "kms:EncryptionContext:aws:logs:arn"
      values = [
        "arn:aws:logs:${var.region}:${data.aws_caller_identity.this.account_id}:log-group:/${var.name}/*",
        "arn:aws:logs:${var.region}:${data.aws_caller_identity.this.account_id}:log-group:${local.insights}",
      ]
    }
  }
  statement {
    sid       = "CDN"
    actions   = ["kms:Decrypt"]
    resources = ["*"]
    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }
    # Any distribution of the account: this one's ARN would be a circle, key → distribution → key.
    # The bucket's policy names it.
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:aws:cloudfront::${data.aws_caller_identity.this.account_id}:distribution/*"]
    }
  }
  # EC2 Auto Scaling starts the bus's nodes and the GPU instances with disks under this key. Its
  # role stands in a condition: as a principal KMS refuses it in an account that has never had a
  # scaling group, because AWS makes the role with the first one.
  statement {
    sid       = "Volumes"
    actions   = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:GenerateDataKeyWithoutPlaintext", "kms:DescribeKey", "kms:CreateGrant"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "kms:CallerAccount"
      values   = [data.aws_caller_identity.this.account_id]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:PrincipalArn"
      values   = ["arn:aws:iam::${data.aws_caller_identity.this.account_id}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"]
    }
  }
}

resource "aws_kms_key" "this" {
  description         = "klive ${var.name}"
  enable_key_rotation = true
  policy              = data.aws_iam_policy_document.key.json
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}

module "network" {
  source             = "./modules/network"
  name               = var.name
  cidr               = var.vpc_cidr
  zones              = var.zones
  kms_key_arn        = aws_kms_key.this.arn
  log_retention_days = var.log_retention_days
}

module "storage" {
  source               = "./modules/storage"
  name                 = var.name
  kms_key_arn          = aws_kms_key.this.arn
  media_days           = var.media_days
  recording_needs_days = var.recording_needs_days
  recordings_days      = var.recordings_days
  force_destroy        = var.force_destroy
  cors_origins         = var.cors_origins
}

# The roles' groups stand here, because bus, gateways and origins name each other's.
resource "aws_security_group" "role" {
  for_each    = toset(["gateway", "worker", "origin"])
  name        = "${var.name}-${each.key}"
  description = "Tasks of the ${each.key} role"
  vpc_id      = module.network.vpc_id
}

resource "aws_vpc_security_group_egress_rule" "role" {
  for_each          = aws_security_group.role
  security_group_id = each.value.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  description       = "Bus, bucket, Kaltura"
}

resource "aws_vpc_security_group_ingress_rule" "internal" {
  for_each                     = aws_security_group.role
  security_group_id            = aws_security_group.role["gateway"].id
  referenced_security_group_id = each.value.id
  ip_protocol                  = "tcp"
  from_port                    = local.internal
  to_port                      = local.internal
  description                  = "${each.key} to the gateways"
}

module "bus" {
  source                    = "./modules/bus"
  for_each                  = local.bus
  name                      = var.name
  vpc_id                    = module.network.vpc_id
  subnets                   = module.network.private_subnets
  client_security_group_ids = { for r, g in aws_security_group.role : r => g.id }
  image                     = var.images.gateway
  instance_type             = coalesce(var.bus.instance_type, local.arm ? "r7g.large" : "r7i.large")
  architecture              = var.architecture
  namespace                 = local.namespace
  volume_gib                = var.bus.volume_gib
  memory_mib                = var.bus.memory_mib
  secret_arn                = var.secret_arn
  secret_key_arns           = compact([var.secret_kms_key_arn])
  tls_secret_arn            = coalesce(var.bus_tls_secret_arn, "unset")
  kms_key_arn               = aws_kms_key.this.arn
  log_retention_days        = var.log_retention_days
}

# ECS writes its measurements here. Made by ECS itself the group would have no end and no key,
# and would outlive a destroy.
resource "aws_cloudwatch_log_group" "insights" {
  name              = local.insights
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.this.arn
}

resource "aws_ecs_cluster" "this" {
  name       = var.name
  depends_on = [aws_cloudwatch_log_group.insights]
  setting {
    name  = "containerInsights"
    value = "enabled"
  }
  lifecycle {
    precondition {
      condition     = local.managed == (var.bus_tls_secret_arn != null)
      error_message = "Set bus_tls_secret_arn to the secret with the bus's certificate, or bus_external to a NATS cluster of yours; one of them, not both."
    }
    precondition {
      condition     = alltrue([for z in var.zones : startswith(z, var.region)])
      error_message = "zones names a zone outside region: set both for the same region."
    }
    precondition {
      condition     = split(":", var.certificate_arn)[3] == var.region
      error_message = "certificate_arn is of another region: set it to a certificate in region, which load balancers take alone."
    }
    precondition {
      condition     = !var.gpu.enabled || local.arm == can(regex("^g5g\\.", var.gpu.instance_type))
      error_message = "gpu.instance_type is of another processor than architecture, and its tasks run images of both: set architecture to X86_64 for g4dn, g5 and g6, to ARM64 for g5g."
    }
    precondition {
      condition     = var.bus.instance_type == null || !local.managed || local.arm == can(regex("^[a-z]+[0-9]+g[a-z]*\\.", var.bus.instance_type))
      error_message = "bus.instance_type is of another processor than architecture, and the bus runs images.gateway too: set it to an arm64 type such as r7g.large for ARM64, to one such as r7i.large for X86_64."
    }
  }
}

module "ingest" {
  source            = "./modules/ingest"
  name              = var.name
  deployment        = local.deployment
  image             = var.images.gateway
  subnets           = module.network.public_subnets
  security_group_id = aws_security_group.role["gateway"].id
  certificate_arn   = var.certificate_arn
  ports             = var.ingest_ports
  http_ingest       = var.http_ingest
  webrtc            = var.webrtc
  allowed_cidrs     = var.ingest_cidrs
  size              = var.gateways
  feeds_per_task    = var.feeds_per_gateway
}

module "worker" {
  source                = "./modules/worker"
  name                  = var.name
  deployment            = local.deployment
  image                 = var.images.worker
  gpu_image             = var.images.gpu
  subnets               = module.network.private_subnets
  security_group_id     = aws_security_group.role["worker"].id
  live_bucket_arn       = module.storage.live.arn
  recordings_bucket_arn = module.storage.recordings.arn
  owners                = var.owners
  transcode             = var.transcode
  backlog_seconds       = var.transcode_backlog_seconds
  gpu                   = var.gpu
}

module "origin" {
  source            = "./modules/origin"
  name              = var.name
  deployment        = local.deployment
  image             = var.images.worker # pictures are made with ffmpeg
  subnets           = module.network.private_subnets
  security_group_id = aws_security_group.role["origin"].id
  certificate_arn   = var.certificate_arn
  live_bucket_arn   = module.storage.live.arn
  size              = var.origins
}

module "cdn" {
  source           = "./modules/cdn"
  name             = var.name
  origin           = { balancer_arn = module.origin.balancer_arn, domain = local.hosts.origin }
  bucket           = module.storage.live
  playlist_seconds = 2
  aliases          = compact([var.viewer_domain])
  certificate_arn  = var.viewer_certificate_arn
  signing_keys     = var.signing_keys
  waf              = var.waf.enabled
  waf_requests     = var.waf.requests
  web_acl_arn      = var.waf.web_acl_arn
  cors_origins     = var.cors_origins
  price_class      = var.price_class
}

module "observability" {
  source           = "./modules/observability"
  name             = var.name
  region           = var.region
  namespace        = local.namespace
  log_groups       = merge({ gateway = module.ingest.log_group, origin = module.origin.log_group }, module.worker.log_groups)
  certificate_arn  = var.certificate_arn
  alarm_topic_arns = var.alarm_topic_arns
  backlog_seconds  = 2 * var.transcode_backlog_seconds
  metrics_every    = local.metrics_every
  bus              = local.managed
}

# The last to be made, so the first that a destroy comes to.
module "guard" {
  source     = "./modules/guard"
  buckets    = [module.storage.recordings.id, module.storage.live.id]
  region     = var.region
  forced     = var.force_destroy
  depends_on = [module.bus, module.ingest, module.worker, module.origin, module.cdn, module.observability, aws_route53_record.ingest, aws_route53_record.viewer]
}

resource "aws_route53_record" "ingest" {
  for_each = var.hosted_zone_id == null ? {} : merge({ ingest = module.ingest.network }, var.http_ingest || var.webrtc ? { push = module.ingest.https } : {})
  zone_id  = var.hosted_zone_id
  name     = local.hosts[each.key]
  type     = "A"
  alias {
    name                   = each.value.dns_name
    zone_id                = each.value.zone_id
    evaluate_target_health = true
  }
}

resource "aws_route53_record" "viewer" {
  for_each = toset(var.hosted_zone_id == null || var.viewer_domain == null ? [] : ["A", "AAAA"])
  zone_id  = var.hosted_zone_id
  name     = var.viewer_domain
  type     = each.key
  alias {
    name                   = module.cdn.domain
    zone_id                = module.cdn.hosted_zone_id
    evaluate_target_health = false
  }
}
