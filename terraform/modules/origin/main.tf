# The origins, behind a load balancer that has no public address: CloudFront reaches it through
# a VPC origin, and nobody else does.
data "aws_ec2_managed_prefix_list" "cloudfront" {
  name = "com.amazonaws.global.cloudfront.origin-facing"
}

resource "aws_security_group" "balancer" {
  name        = "${var.name}-origin-balancer"
  description = "Load balancer of the origins"
  vpc_id      = var.deployment.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "cloudfront" {
  security_group_id = aws_security_group.balancer.id
  prefix_list_id    = data.aws_ec2_managed_prefix_list.cloudfront.id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  description       = "CloudFront"
}

resource "aws_vpc_security_group_egress_rule" "origins" {
  security_group_id            = aws_security_group.balancer.id
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  description                  = "Origins"
}

resource "aws_vpc_security_group_ingress_rule" "balancer" {
  security_group_id            = var.security_group_id
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = var.port
  to_port                      = var.port
  description                  = "Load balancer of the origins"
}

resource "aws_lb" "this" {
  name                       = "${var.name}-origin"
  load_balancer_type         = "application"
  internal                   = true
  subnets                    = values(var.subnets)
  security_groups            = [aws_security_group.balancer.id]
  drop_invalid_header_fields = true
  idle_timeout               = 60
}

resource "aws_lb_target_group" "this" {
  name                          = "${var.name}-origin-${var.port}"
  vpc_id                        = var.deployment.vpc_id
  target_type                   = "ip"
  port                          = var.port
  protocol                      = "HTTP"
  deregistration_delay          = 30
  load_balancing_algorithm_type = "least_outstanding_requests"
  # ECS ends what is unhealthy here. An origin that has lost the bus for a while still has the
  # store, and a new one would have no bus either.
  health_check {
    path                = "/readyz"
    matcher             = "200"
    interval            = 10
    timeout             = 5
    healthy_threshold   = 2
    unhealthy_threshold = 10
  }
  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}

data "aws_iam_policy_document" "task" {
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
  source             = "../task"
  name               = "${var.name}/origin"
  image              = var.image
  init_image         = var.deployment.init_image
  command            = ["origin"]
  cpu                = var.size.cpu
  memory             = var.size.memory
  architecture       = var.deployment.architecture
  stop_timeout       = 60
  kms_key_arn        = var.deployment.kms_key_arn
  log_retention_days = var.deployment.log_retention_days
  # Origins have no business with Kaltura.
  environment     = merge({ for k, v in var.deployment.environment : k => v if !startswith(k, "KLIVE_KALTURA_") }, { KLIVE_HTTP_LISTEN = ":${var.port}" })
  secrets         = { for k, v in var.deployment.secrets : k => v if !startswith(k, "KLIVE_KALTURA_") }
  secret_arns     = var.deployment.secret_arns
  secret_key_arns = var.deployment.secret_key_arns
  bus_ca          = var.deployment.bus_ca
  policy_json     = data.aws_iam_policy_document.task.json
  ports           = { http = { port = var.port, protocol = "tcp" } }
}

resource "aws_ecs_service" "this" {
  name                               = "origin"
  cluster                            = var.deployment.cluster_arn
  task_definition                    = module.task.arn
  desired_count                      = var.size.min
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  propagate_tags                     = "SERVICE"
  launch_type                        = "FARGATE"
  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }
  network_configuration {
    subnets          = values(var.subnets)
    security_groups  = [var.security_group_id]
    assign_public_ip = false
  }
  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = "klive"
    container_port   = var.port
  }
  depends_on = [aws_lb_listener.this]
  lifecycle {
    ignore_changes = [desired_count] # autoscaling's
  }
}

resource "aws_appautoscaling_target" "this" {
  service_namespace  = "ecs"
  scalable_dimension = "ecs:service:DesiredCount"
  resource_id        = "service/${var.deployment.cluster_name}/${aws_ecs_service.this.name}"
  min_capacity       = var.size.min
  max_capacity       = var.size.max
}

resource "aws_appautoscaling_policy" "cpu" {
  name               = "${var.name}-origin-cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = aws_appautoscaling_target.this.service_namespace
  scalable_dimension = aws_appautoscaling_target.this.scalable_dimension
  resource_id        = aws_appautoscaling_target.this.resource_id
  target_tracking_scaling_policy_configuration {
    target_value = 50
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
