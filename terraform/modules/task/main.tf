# A task definition with its log and its two roles: the one that ECS starts it with, and the
# one that klive itself has.
locals {
  # CPU units and the MiB that Fargate has for each (its documentation, "task size").
  memory = {
    256   = [512, 1024, 2048]
    512   = range(1024, 4097, 1024)
    1024  = range(2048, 8193, 1024)
    2048  = range(4096, 16385, 1024)
    4096  = range(8192, 30721, 1024)
    8192  = range(16384, 61441, 4096)
    16384 = range(32768, 122881, 8192)
  }
  ca_file = "/run/klive/ca.pem"
  with_ca = var.bus_ca != null

  # Secrets Manager gives texts and klive wants a file: a container that ends before klive
  # starts writes it.
  ca = {
    name                   = "ca"
    image                  = var.init_image
    essential              = false
    entryPoint             = ["/bin/sh", "-c"]
    command                = ["printf '%s\\n' \"$BUS_CA\" > ${local.ca_file}"]
    readonlyRootFilesystem = true
    secrets                = [{ name = "BUS_CA", valueFrom = coalesce(var.bus_ca, "-") }]
    mountPoints            = [{ sourceVolume = "run", containerPath = "/run/klive", readOnly = false }]
    logConfiguration       = local.log
  }
  log = {
    logDriver = "awslogs"
    options = {
      "awslogs-group"         = aws_cloudwatch_log_group.this.name
      "awslogs-region"        = data.aws_region.this.region
      "awslogs-stream-prefix" = "klive"
    }
  }
  # What is empty is left out: ECS gives back nothing for it, and the next plan would find a
  # difference and start every task anew.
  klive = merge({
    name                   = "klive"
    image                  = var.image
    essential              = true
    command                = var.command
    user                   = "65532:65532"
    readonlyRootFilesystem = true
    stopTimeout            = var.stop_timeout
    environment            = [for k, v in merge(var.environment, local.with_ca ? { KLIVE_BUS_TLS_CA = local.ca_file } : {}) : { name = k, value = v }]
    linuxParameters        = { initProcessEnabled = true, capabilities = { drop = ["ALL"] } }
    ulimits                = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    mountPoints = [
      { sourceVolume = "data", containerPath = "/data", readOnly = false },
      { sourceVolume = "run", containerPath = "/run/klive", readOnly = true },
    ]
    logConfiguration = local.log
    # Whether the process lives, not whether it takes work: a task that waits for the bus holds
    # encoders and what it has spooled, and ECS ends a task that is not healthy.
    healthCheck = {
      command     = ["CMD", "/klive", "health", "--alive"]
      interval    = 10
      timeout     = 5
      retries     = 6
      startPeriod = 60
    }
    },
    length(var.secrets) > 0 ? { secrets = [for k, v in var.secrets : { name = k, valueFrom = v }] } : {},
    length(var.ports) > 0 ? { portMappings = [for p in var.ports : { containerPort = p.port, hostPort = p.port, protocol = p.protocol }] } : {},
    local.with_ca ? { dependsOn = [{ containerName = "ca", condition = "SUCCESS" }] } : {},
    var.gpus > 0 ? { resourceRequirements = [{ type = "GPU", value = tostring(var.gpus) }] } : {},
  )
}

data "aws_region" "this" {}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/${var.name}"
  retention_in_days = var.log_retention_days
  kms_key_id        = var.kms_key_arn
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "start" {
  statement {
    sid       = "Secrets"
    actions   = ["secretsmanager:GetSecretValue"]
    resources = var.secret_arns
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = concat([var.kms_key_arn], var.secret_key_arns)
  }
  statement {
    sid       = "Log"
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

resource "aws_iam_role" "start" {
  name               = "${replace(var.name, "/", "-")}-start"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "start" {
  name   = "start"
  role   = aws_iam_role.start.id
  policy = data.aws_iam_policy_document.start.json
}

resource "aws_iam_role" "task" {
  name               = replace(var.name, "/", "-")
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "task" {
  name   = "task"
  role   = aws_iam_role.task.id
  policy = var.policy_json
}

resource "aws_ecs_task_definition" "this" {
  family                   = replace(var.name, "/", "-")
  requires_compatibilities = [var.gpus > 0 ? "EC2" : "FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = tostring(var.cpu)
  memory                   = tostring(var.memory)
  execution_role_arn       = aws_iam_role.start.arn
  task_role_arn            = aws_iam_role.task.arn
  container_definitions    = jsonencode(concat(local.with_ca ? [local.ca] : [], [local.klive]))
  dynamic "runtime_platform" {
    for_each = var.gpus > 0 ? [] : [var.architecture]
    content {
      operating_system_family = "LINUX"
      cpu_architecture        = runtime_platform.value
    }
  }
  dynamic "ephemeral_storage" {
    for_each = var.gpus > 0 ? [] : [var.spool_gib]
    content {
      size_in_gib = ephemeral_storage.value
    }
  }
  # Volumes of the task's own disk, with the owners that the images give their folders.
  volume {
    name = "data"
  }
  volume {
    name = "run"
  }
  lifecycle {
    precondition {
      condition     = var.gpus > 0 || contains(lookup(local.memory, var.cpu, []), var.memory)
      error_message = "Fargate has no task of ${var.cpu} CPU units with ${var.memory} MiB. Set memory to one of: ${join(", ", lookup(local.memory, var.cpu, []))}."
    }
  }
}
