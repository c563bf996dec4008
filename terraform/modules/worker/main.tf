# Owners hold live entries: on-demand, because a move costs viewers up to three seconds.
# Transcode workers hold one job at a time, which another does again: they run on Spot and may
# be killed at any time.
locals {
  fargate_transcode = !var.gpu.enabled && var.transcode.max > 0
  tasks = merge(
    { owner = { image = var.image, roles = "live", cpu = var.owners.cpu, memory = var.owners.memory, gpus = 0, count = var.owners.count, policy = data.aws_iam_policy_document.owner.json, environment = {} } },
    local.fargate_transcode ? { transcode = { image = var.image, roles = "transcode", cpu = var.transcode.cpu, memory = var.transcode.memory, gpus = 0, count = var.transcode.min, policy = data.aws_iam_policy_document.transcode.json, environment = {} } } : {},
    var.gpu.enabled ? { transcode = { image = coalesce(var.gpu_image, var.image), roles = "transcode", cpu = var.transcode.cpu, memory = var.transcode.memory, gpus = 1, count = var.gpu.min, policy = data.aws_iam_policy_document.transcode.json, environment = { KLIVE_TRANSCODE_ENCODER = "h264_nvenc", NVIDIA_DRIVER_CAPABILITIES = "compute,utility,video" } } } : {},
  )
  scaled = contains(keys(local.tasks), "transcode") ? { transcode = var.gpu.enabled ? var.gpu : { enabled = false, instance_type = "", min = var.transcode.min, max = var.transcode.max } } : {}
}

data "aws_iam_policy_document" "owner" {
  statement {
    sid       = "Media"
    actions   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    resources = ["${var.live_bucket_arn}/klive/*", "${var.recordings_bucket_arn}/klive/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket", "s3:ListBucketMultipartUploads"]
    resources = [var.live_bucket_arn, var.recordings_bucket_arn]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt", "kms:GenerateDataKey"]
    resources = [var.deployment.kms_key_arn]
  }
}

# A job's input and its renditions go over the bus; a transcode worker opens the bucket to say
# at its start that it is there, and reads what the bus no longer holds.
data "aws_iam_policy_document" "transcode" {
  statement {
    sid       = "Media"
    actions   = ["s3:GetObject"]
    resources = ["${var.live_bucket_arn}/klive/*"]
  }
  statement {
    sid       = "List"
    actions   = ["s3:ListBucket"]
    resources = [var.live_bucket_arn]
  }
  statement {
    sid       = "Key"
    actions   = ["kms:Decrypt"]
    resources = [var.deployment.kms_key_arn]
  }
}

module "task" {
  for_each           = local.tasks
  source             = "../task"
  name               = "${var.name}/${each.key}"
  image              = each.value.image
  init_image         = var.deployment.init_image
  command            = ["worker", "--roles", each.value.roles]
  cpu                = each.value.cpu
  memory             = each.value.memory
  gpus               = each.value.gpus
  architecture       = var.deployment.architecture
  stop_timeout       = 120
  spool_gib          = 30 # spool.bytes is 8 GiB
  kms_key_arn        = var.deployment.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  # Who transcodes reads what strangers send, and has no business with Kaltura.
  environment     = merge({ for k, v in var.deployment.environment : k => v if each.key == "owner" || !startswith(k, "KLIVE_KALTURA_") }, each.value.environment)
  secrets         = { for k, v in var.deployment.secrets : k => v if each.key == "owner" || !startswith(k, "KLIVE_KALTURA_") }
  secret_arns     = var.deployment.secret_arns
  secret_key_arns = var.deployment.secret_key_arns
  bus_ca          = var.deployment.bus_ca
  policy_json     = each.value.policy
}

resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = var.deployment.cluster_name
  capacity_providers = concat(["FARGATE", "FARGATE_SPOT"], [for c in aws_ecs_capacity_provider.gpu : c.name])
}

resource "aws_ecs_service" "this" {
  for_each                           = local.tasks
  name                               = each.key
  cluster                            = var.deployment.cluster_arn
  task_definition                    = module.task[each.key].arn
  desired_count                      = each.value.count
  availability_zone_rebalancing      = "DISABLED"
  deployment_minimum_healthy_percent = each.value.gpus > 0 ? 50 : 100 # instances with a GPU are few
  deployment_maximum_percent         = 200
  propagate_tags                     = "SERVICE"
  capacity_provider_strategy {
    capacity_provider = each.value.gpus > 0 ? aws_ecs_capacity_provider.gpu["gpu"].name : each.key == "transcode" ? "FARGATE_SPOT" : "FARGATE"
    weight            = 1
  }
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = values(var.subnets)
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }
  depends_on = [aws_ecs_cluster_capacity_providers.this]
  lifecycle {
    ignore_changes = [desired_count] # autoscaling's, and an operator's for owners
  }
}

resource "aws_appautoscaling_target" "this" {
  for_each           = local.scaled
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.deployment.cluster_name}/${aws_ecs_service.this[each.key].name}"
  min_capacity       = each.value.min
  max_capacity       = each.value.max
}

# The backlog is the age of the oldest job, the same at each worker. It is no quantity that
# falls in proportion as workers are added, so steps follow it instead of a target.
resource "aws_appautoscaling_policy" "out" {
  for_each           = local.scaled
  name               = "${var.name}-backlog-out"
  policy_type        = "StepScaling"
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  step_scaling_policy_configuration {
    adjustment_type          = "PercentChangeInCapacity"
    min_adjustment_magnitude = 1
    cooldown                 = 60
    metric_aggregation_type  = "Maximum"
    step_adjustment {
      metric_interval_lower_bound = 0
      metric_interval_upper_bound = 4
      scaling_adjustment          = 25
    }
    step_adjustment {
      metric_interval_lower_bound = 4
      scaling_adjustment          = 100
    }
  }
}

resource "aws_appautoscaling_policy" "in" {
  for_each           = local.scaled
  name               = "${var.name}-backlog-in"
  policy_type        = "StepScaling"
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = aws_appautoscaling_target.this[each.key].resource_id
  step_scaling_policy_configuration {
    adjustment_type         = "ChangeInCapacity"
    cooldown                = 300
    metric_aggregation_type = "Maximum"
    step_adjustment {
      metric_interval_upper_bound = 0
      scaling_adjustment          = -1
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "out" {
  for_each            = local.scaled
  alarm_name          = "${var.name}-scale-transcode-out"
  alarm_description   = "Transcode jobs wait: one worker more."
  namespace           = var.deployment.namespace
  metric_name         = "klive_transcode_backlog_seconds"
  dimensions          = { Role = "transcode" }
  statistic           = "Maximum"
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = var.backlog_seconds
  period              = 60
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.out[each.key].arn]
}

resource "aws_cloudwatch_metric_alarm" "in" {
  for_each            = local.scaled
  alarm_name          = "${var.name}-scale-transcode-in"
  alarm_description   = "No transcode job has waited for a while: one worker less."
  namespace           = var.deployment.namespace
  metric_name         = "klive_transcode_backlog_seconds"
  dimensions          = { Role = "transcode" }
  statistic           = "Maximum"
  comparison_operator = "LessThanOrEqualToThreshold"
  threshold           = var.backlog_seconds / 4
  period              = 60
  evaluation_periods  = 15
  treat_missing_data  = "notBreaching"
  alarm_actions       = [aws_appautoscaling_policy.in[each.key].arn]
}
