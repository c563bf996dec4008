# Alarms for who is on call, and a dashboard. Metrics come out of klive's own log as lines in
# CloudWatch's embedded form; what has no metric is counted in the log itself.
locals {
  # Each line of the log that counts: who writes it, and its message.
  counted = {
    parked_appends = { role = "owner", pattern = "{ $.msg = \"a recording waits for an operator*\" }" }
  }
  alarms = merge(local.roles, var.bus ? local.nodes : {})
  nodes = {
    bus-node-missing = {
      description = "A node of the bus misses another: one more that goes stops the deployment. See the scaling group of the bus and its log."
      metric      = "klive_bus_nodes_connected", role = "bus", statistic = "Minimum", compare = "LessThanThreshold", threshold = 2, periods = 10
    }
  }
  roles = {
    gateways-without-workers = {
      description = "Streams are on the air and no worker lives: nothing reaches viewers. See the owner service's tasks and the bus."
      metric      = "klive_node_workers", role = "gateway", statistic = "Maximum", compare = "LessThanThreshold", threshold = 1, periods = 2
    }
    lost-parts = {
      description = "Gateways give parts up that the bus does not take: viewers see gaps. See the bus nodes' /readyz and memory."
      metric      = "klive_gateway_lost_parts_total", role = "gateway", statistic = "Sum", compare = "GreaterThanThreshold", threshold = 0, periods = 1
    }
    backlog = {
      description = "Transcode jobs wait too long: rungs become gaps. See the transcode service's tasks, and its max."
      metric      = "klive_transcode_backlog_seconds", role = "transcode", statistic = "Maximum", compare = "GreaterThanThreshold", threshold = var.backlog_seconds, periods = 3
    }
    spool = {
      description = "Workers can't write to the bucket and keep segments on their own disks. Don't roll out; see S3, KMS and the role's policy."
      metric      = "klive_spool_oldest_seconds", role = "worker", statistic = "Maximum", compare = "GreaterThanThreshold", threshold = 60, periods = 1
    }
    ownership-churn = {
      description = "Entries go from worker to worker: workers die or can't reach the bus. See the owner log."
      metric      = "klive_owner_steals_total", role = "worker", statistic = "Sum", compare = "GreaterThanThreshold", threshold = 5, periods = 3
    }
    parked-appends = {
      description = "A recording waits for an operator: klive recording list."
      metric      = "parked_appends", role = null, statistic = "Sum", compare = "GreaterThanThreshold", threshold = 0, periods = 1
    }
  }
}

resource "aws_cloudwatch_log_metric_filter" "this" {
  for_each       = local.counted
  name           = each.key
  log_group_name = var.log_groups[each.value.role]
  pattern        = each.value.pattern
  metric_transformation {
    namespace     = var.namespace
    name          = each.key
    value         = "1"
    default_value = "0"
  }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each            = local.alarms
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.description
  namespace           = var.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.role == null ? null : { Role = each.value.role }
  statistic           = each.value.statistic
  comparison_operator = each.value.compare
  threshold           = each.value.threshold
  period              = 60
  evaluation_periods  = each.value.periods
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
}

# Feeds on the air and no part kept on the bus: gateways take streams that lead nowhere.
resource "aws_cloudwatch_metric_alarm" "no_parts" {
  alarm_name          = "${var.name}-no-parts"
  alarm_description   = "Streams are on the air, and the bus holds no part of any. See the gateway log and the bus."
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  evaluation_periods  = 2
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  metric_query {
    id          = "silent"
    expression  = "IF(feeds > 0 AND parts == 0, 1, 0)"
    label       = "Streams without parts"
    return_data = true
  }
  metric_query {
    id = "feeds"
    metric {
      namespace   = var.namespace
      metric_name = "klive_gateway_feeds"
      dimensions  = { Role = "gateway" }
      stat        = "Sum"
      period      = 60
    }
  }
  metric_query {
    id = "parts"
    metric {
      namespace   = var.namespace
      metric_name = "klive_bus_media_messages"
      dimensions  = { Role = "gateway" }
      stat        = "Maximum"
      period      = 60
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "certificate" {
  alarm_name          = "${var.name}-certificate"
  alarm_description   = "The certificate of the load balancers ends within 21 days and was not renewed. See its validation records."
  namespace           = "AWS/CertificateManager"
  metric_name         = "DaysToExpiry"
  dimensions          = { CertificateArn = var.certificate_arn }
  statistic           = "Minimum"
  comparison_operator = "LessThanThreshold"
  threshold           = 21
  period              = 86400
  evaluation_periods  = 1
  treat_missing_data  = "notBreaching"
  alarm_actions       = var.alarm_topic_arns
}

# A gauge comes several times a minute from each process, so a minute's sum is that much too large.
locals {
  graphs = [
    { title = "Feeds on the air", metric = "klive_gateway_feeds", role = "gateway", stat = "Sum" },
    { title = "Feeds per gateway", metric = "klive_gateway_feeds", role = "gateway", stat = "Average" },
    { title = "Live workers", metric = "klive_node_workers", role = "gateway", stat = "Minimum" },
    { title = "Oldest transcode job (s)", metric = "klive_transcode_backlog_seconds", role = "transcode", stat = "Maximum" },
    { title = "Spooled bytes", metric = "klive_spool_bytes", role = "worker", stat = "Sum" },
    { title = "Bus round trip (s)", metric = "klive_bus_rtt_seconds", role = "gateway", stat = "Maximum" },
    { title = "Refused publishes", metric = "klive_gateway_refusals_total", role = "gateway", stat = "Sum" },
    { title = "Requests at origins", metric = "klive_origin_requests_total", role = "origin", stat = "Sum" },
  ]
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [for i, g in local.graphs : {
      type = "metric", width = 12, height = 6, x = 12 * (i % 2), y = 6 * floor(i / 2)
      properties = {
        title = g.title, region = var.region, view = "timeSeries", stat = g.stat, period = 60
        metrics = [
          [{ expression = "m${i}${g.stat == "Sum" && !endswith(g.metric, "_total") ? " * ${var.metrics_every} / 60" : ""}", label = g.title, id = "e${i}" }],
          [var.namespace, g.metric, "Role", g.role, { id = "m${i}", visible = false }],
        ]
      }
    }]
  })
}
