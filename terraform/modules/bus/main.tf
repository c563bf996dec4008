# Three nodes, one a zone, each with a volume and a name that outlive it. One scaling group
# replaces them one at a time: two of three are what the bus needs to go on.
locals {
  port         = 4222
  cluster_port = 6222
  domain       = "${var.name}.internal"
  group        = "${var.name}-bus"
  hosts        = { for z, s in var.subnets : z => "bus-${z}.${local.domain}" }
}

data "aws_region" "this" {}

resource "aws_route53_zone" "this" {
  name          = local.domain
  force_destroy = true # the nodes enter themselves, so a destroy finds names that Terraform has not made
  vpc {
    vpc_id = var.vpc_id
  }
}

resource "aws_security_group" "this" {
  name        = local.group
  description = "Nodes of the bus"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each                     = var.client_security_group_ids
  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  description                  = "${each.key} to the bus"
}

resource "aws_vpc_security_group_ingress_rule" "routes" {
  security_group_id            = aws_security_group.this.id
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = local.cluster_port
  to_port                      = local.cluster_port
  description                  = "Nodes of the bus to each other"
}

resource "aws_vpc_security_group_egress_rule" "all" {
  security_group_id = aws_security_group.this.id
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
  description       = "AWS's own services, and the other nodes"
}

resource "aws_ebs_volume" "this" {
  for_each          = var.subnets
  availability_zone = each.key
  size              = var.volume_gib
  type              = "gp3"
  encrypted         = true
  kms_key_id        = var.kms_key_arn
  tags              = { Name = "${local.group}-${each.key}", KliveBus = local.group }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}/bus"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "node" {
  statement {
    sid       = "Volumes"
    actions   = ["ec2:AttachVolume"]
    resources = [for v in aws_ebs_volume.this : v.arn]
  }
  statement {
    sid       = "AttachToNodes"
    actions   = ["ec2:AttachVolume"]
    resources = ["arn:aws:ec2:${data.aws_region.this.region}:*:instance/*"]
    condition {
      test     = "StringEquals"
      variable = "ec2:ResourceTag/KliveBus"
      values   = [local.group]
    }
  }
  statement {
    sid       = "Name"
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = [aws_route53_zone.this.arn]
  }
  statement {
    sid       = "Ready"
    actions   = ["autoscaling:CompleteLifecycleAction"]
    resources = ["arn:aws:autoscaling:${data.aws_region.this.region}:*:autoScalingGroup:*:autoScalingGroupName/${local.group}"]
  }
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.secret_arn, var.tls_secret_arn]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:DescribeKey"]
    resources = concat([var.kms_key_arn], var.secret_key_arns)
  }
  statement {
    sid       = "VolumeKey" # what attaching an encrypted volume asks of who attaches it
    actions   = ["kms:CreateGrant"]
    resources = [var.kms_key_arn]
    condition {
      test     = "Bool"
      variable = "kms:GrantIsForAWSResource"
      values   = ["true"]
    }
  }
  statement {
    sid       = "Logs"
    actions   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    resources = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }
  statement {
    sid       = "Image"
    actions   = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"]
    resources = ["arn:aws:ecr:*:*:repository/*"]
  }
  statement {
    sid       = "RegistryLogin"
    actions   = ["ecr:GetAuthorizationToken"]
    resources = ["*"] # the action knows no resources
  }
}

resource "aws_iam_role" "node" {
  name               = local.group
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "node" {
  name   = "node"
  role   = aws_iam_role.node.id
  policy = data.aws_iam_policy_document.node.json
}

resource "aws_iam_instance_profile" "node" {
  name = local.group
  role = aws_iam_role.node.name
}

resource "aws_launch_template" "this" {
  name                   = local.group
  image_id               = "resolve:ssm:/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-${var.architecture == "ARM64" ? "arm64" : "x86_64"}"
  instance_type          = var.instance_type
  vpc_security_group_ids = [aws_security_group.this.id]
  update_default_version = true
  iam_instance_profile {
    arn = aws_iam_instance_profile.node.arn
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type = "gp3"
      volume_size = 20
      encrypted   = true
      kms_key_id  = var.kms_key_arn
    }
  }
  tag_specifications {
    resource_type = "instance"
    tags          = { Name = local.group, KliveBus = local.group }
  }
  user_data = base64encode(templatefile("${path.module}/node.sh.tftpl", {
    region       = data.aws_region.this.region
    volumes      = join(" ", [for z, v in aws_ebs_volume.this : "[${z}]=${v.id}"])
    domain       = local.domain
    hosted_zone  = aws_route53_zone.this.zone_id
    secret       = var.secret_arn
    tls_secret   = var.tls_secret_arn
    image        = var.image
    log_group    = aws_cloudwatch_log_group.this.name
    port         = local.port
    cluster_port = local.cluster_port
    routes       = join(",", [for h in local.hosts : "nats://${h}:${local.cluster_port}"])
    memory_mib   = var.memory_mib
    namespace    = var.namespace
    group        = local.group
  }))
}

resource "aws_autoscaling_group" "this" {
  name                = local.group
  min_size            = 3
  max_size            = 3
  desired_capacity    = 3
  vpc_zone_identifier = values(var.subnets)
  health_check_type   = "EC2"
  suspended_processes = ["AZRebalance"] # it would start a node in a zone whose volume is in use
  # A node is in service when klive answers, which takes all three at the first time.
  wait_for_capacity_timeout = "25m"
  depends_on = [
    aws_iam_role_policy.node, aws_vpc_security_group_ingress_rule.routes, aws_vpc_security_group_egress_rule.all,
  ]
  launch_template {
    id      = aws_launch_template.this.id
    version = aws_launch_template.this.latest_version
  }
  initial_lifecycle_hook {
    name                 = "ready"
    lifecycle_transition = "autoscaling:EC2_INSTANCE_LAUNCHING"
    heartbeat_timeout    = 1200
    default_result       = "ABANDON"
  }
  instance_refresh {
    strategy = "Rolling"
    preferences {
      min_healthy_percentage = 66
      max_healthy_percentage = 100 # the old node leaves first: it holds the volume
      skip_matching          = true
    }
  }
  tag {
    key                 = "KliveBus"
    value               = local.group
    propagate_at_launch = true
  }
  lifecycle {
    precondition {
      condition     = length(var.subnets) == 3
      error_message = "The bus needs three zones: set zones to exactly three, or bus_external to a NATS cluster of your own."
    }
  }
}
