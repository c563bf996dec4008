# How encoders reach the gateways.
#
#   TCP 1935      → RTMP          network load balancer
#   TLS 443       → RTMP, with TLS ended at the load balancer
#   UDP 8890      → SRT           the same
#   HTTPS 443     → push, WHIP    application load balancer, on a name of its own
#   UDP+TCP 8189  → WebRTC media  each gateway on its own address, past the load balancers
#
# WebRTC media go to the gateway that answered the offer, and a UDP load balancer would choose
# another. So gateways have public addresses, and only that port is open on them.
#
# A rollout drains in this order: ECS takes a task out of the target groups (no new
# connections), then sends SIGTERM (/readyz is 503, encoders that understand it are asked to
# connect again, the others may go on), then SIGKILL after stopTimeout. So deregistration
# lasts no longer than the drain.
locals {
  drain        = 90
  stop_timeout = 120 # Fargate's most
  check        = { interval = 30, patience = 10 }
  network = merge(
    { rtmp = { port = var.ports.rtmp, listener = var.ports.rtmp, protocol = "TCP", targets = "TCP", certificate = null } },
    { rtmps = { port = var.ports.rtmp, listener = 443, protocol = "TLS", targets = "TCP", certificate = var.certificate_arn } },
    { srt = { port = var.ports.srt, listener = var.ports.srt, protocol = "UDP", targets = "UDP", certificate = null } },
  )
  paths = concat(var.http_ingest ? ["/ingest/*"] : [], var.webrtc ? ["/whip/*"] : [])
  https = length(local.paths) > 0 ? { https = true } : {}
  webrtc = var.webrtc ? {
    for pair in setproduct(["udp", "tcp"], var.allowed_cidrs) : "${pair[0]} ${pair[1]}" => { protocol = pair[0], cidr = pair[1] }
  } : {}
  public = { for pair in setproduct(keys(local.network), var.allowed_cidrs) : "${pair[0]} ${pair[1]}" => {
    port = local.network[pair[0]].listener, protocol = local.network[pair[0]].protocol == "UDP" ? "udp" : "tcp", cidr = pair[1]
  } }
  targets = {
    rtmp = { port = var.ports.rtmp, protocol = "tcp" }
    srt  = { port = var.ports.srt, protocol = "udp" }
    http = { port = var.ports.http, protocol = "tcp" } # health checks
  }
}

resource "aws_security_group" "network" {
  name        = "${var.name}-ingest-network"
  description = "Network load balancer of the gateways"
  vpc_id      = var.deployment.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "network" {
  for_each          = local.public
  security_group_id = aws_security_group.network.id
  ip_protocol       = each.value.protocol
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
  description       = each.key
}

resource "aws_vpc_security_group_egress_rule" "network" {
  for_each                     = local.targets
  security_group_id            = aws_security_group.network.id
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "Gateways, ${each.key}"
}

resource "aws_vpc_security_group_ingress_rule" "gateways" {
  for_each                     = local.targets
  security_group_id            = var.security_group_id
  referenced_security_group_id = aws_security_group.network.id
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port
  to_port                      = each.value.port
  description                  = "Network load balancer, ${each.key}"
}

resource "aws_vpc_security_group_ingress_rule" "webrtc" {
  for_each          = local.webrtc
  security_group_id = var.security_group_id
  ip_protocol       = each.value.protocol
  from_port         = var.ports.webrtc
  to_port           = var.ports.webrtc
  cidr_ipv4         = each.value.cidr
  description       = "WebRTC media, ${each.key}"
}

resource "aws_lb" "network" {
  name                             = "${var.name}-ingest"
  load_balancer_type               = "network"
  internal                         = false
  subnets                          = values(var.subnets)
  security_groups                  = [aws_security_group.network.id]
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "network" {
  for_each    = local.network
  name        = "${var.name}-${each.key}-${each.value.port}" # another port is another group, made before the old one goes
  vpc_id      = var.deployment.vpc_id
  target_type = "ip"
  port        = each.value.port
  protocol    = each.value.targets
  # The log and the limits go by the encoder's own address. For TLS and TCP to IP targets this
  # is off unless it is asked for; for UDP it is always so.
  preserve_client_ip   = true
  deregistration_delay = local.drain
  # TCP connections end with their gateway. A UDP flow has no end: unless it is cut, a caller that
  # keeps its port is led to a gateway that is no more.
  connection_termination = each.value.protocol == "UDP"
  # Encoders that are on the air stay there while their gateway takes no others, such as while the
  # bus is away. The load balancer would cut them off.
  dynamic "target_health_state" {
    for_each = each.value.targets == "TCP" ? [false] : []
    content {
      enable_unhealthy_connection_termination = target_health_state.value
    }
  }
  # A load balancer can't check UDP: it asks /readyz over HTTP instead. So a gateway counts as
  # healthy for SRT when it takes work at all; that its UDP port is open is what readiness
  # means inside klive. When no gateway is healthy the load balancer sends to all of them. ECS ends
  # a task that its load balancer calls unhealthy, and with a gateway all its encoders: so it takes
  # five minutes without readiness. A process that hangs goes sooner, by the container's own check.
  health_check {
    protocol            = "HTTP"
    port                = tostring(var.ports.http)
    path                = "/readyz"
    matcher             = "200"
    interval            = local.check.interval
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = local.check.patience
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "network" {
  for_each          = local.network
  load_balancer_arn = aws_lb.network.arn
  port              = each.value.listener
  protocol          = each.value.protocol
  certificate_arn   = each.value.certificate
  ssl_policy        = each.value.certificate == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.network[each.key].arn
  }
}

module "task" {
  source             = "../task"
  name               = "${var.name}/gateway"
  image              = var.image
  init_image         = var.deployment.init_image
  command            = ["gateway"]
  cpu                = var.size.cpu
  memory             = var.size.memory
  architecture       = var.deployment.architecture
  stop_timeout       = local.stop_timeout
  kms_key_arn        = var.deployment.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  secrets            = var.deployment.secrets
  secret_arns        = var.deployment.secret_arns
  secret_key_arns    = var.deployment.secret_key_arns
  bus_ca             = var.deployment.bus_ca
  policy_json        = data.aws_iam_policy_document.task.json
  environment = merge(var.deployment.environment, {
    KLIVE_RTMP_LISTEN   = ":${var.ports.rtmp}"
    KLIVE_SRT_LISTEN    = ":${var.ports.srt}"
    KLIVE_HTTP_LISTEN   = ":${var.ports.http}"
    KLIVE_GATEWAY_DRAIN = "${local.drain}s"
    KLIVE_PUSH_ENABLED  = tostring(var.http_ingest)
    KLIVE_WHIP_ENABLED  = tostring(var.webrtc)
    }, var.webrtc ? {
    KLIVE_WEBRTC_LISTEN = ":${var.ports.webrtc}"
    # A task on Fargate has no metadata service that knows its public address.
    KLIVE_WEBRTC_PUBLIC_ADDRESS = "https://checkip.amazonaws.com"
  } : {})
  ports = merge(local.targets, var.webrtc ? {
    webrtc_udp = { port = var.ports.webrtc, protocol = "udp" }
    webrtc_tcp = { port = var.ports.webrtc, protocol = "tcp" }
  } : {})
}

data "aws_iam_policy_document" "task" {
  statement {
    sid       = "Protection"
    actions   = ["ecs:GetTaskProtection", "ecs:UpdateTaskProtection"]
    resources = ["${replace(var.deployment.cluster_arn, ":cluster/", ":task/")}/*"]
  }
}

resource "aws_ecs_service" "this" {
  name                               = "gateway"
  cluster                            = var.deployment.cluster_arn
  task_definition                    = module.task.arn
  desired_count                      = var.size.min
  availability_zone_rebalancing      = "DISABLED" # it would end gateways that hold encoders
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  propagate_tags                     = "SERVICE"
  launch_type                        = "FARGATE"
  force_delete                       = true # a destroy does not wait for the last encoder, whose gateway is protected
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = values(var.subnets)
    security_groups  = [var.security_group_id]
    assign_public_ip = true
  }
  dynamic "load_balancer" {
    for_each = aws_lb_target_group.network
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "klive"
      container_port   = load_balancer.value.port
    }
  }
  dynamic "load_balancer" {
    for_each = aws_lb_target_group.https
    content {
      target_group_arn = load_balancer.value.arn
      container_name   = "klive"
      container_port   = var.ports.http
    }
  }
  depends_on = [aws_lb_listener.network, aws_lb_listener.https]
  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }
}

# Each gateway publishes its number of feeds, zero too, so the average is feeds per task and
# an idle deployment shrinks.
resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.deployment.cluster_name}/${aws_ecs_service.this.name}"
  min_capacity       = var.size.min
  max_capacity       = var.size.max
}

resource "aws_appautoscaling_policy" "feeds" {
  name               = "${var.name}-feeds"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value       = var.feeds_per_task
    scale_in_cooldown  = 600
    scale_out_cooldown = 60
    customized_metric_specification {
      namespace   = var.deployment.namespace
      metric_name = "klive_gateway_feeds"
      statistic   = "Average"
      dimensions {
        name  = "Role"
        value = "gateway"
      }
    }
  }
}
