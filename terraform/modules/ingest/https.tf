# Push and WHIP are HTTP. The load balancer adds the encoder's address as X-Forwarded-For, and
# lets through what is for gateways alone.
resource "aws_security_group" "https" {
  for_each    = local.https
  name        = "${var.name}-ingest-https"
  description = "HTTPS load balancer of the gateways"
  vpc_id      = var.deployment.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "https" {
  for_each          = length(local.https) > 0 ? toset(var.allowed_cidrs) : toset([])
  security_group_id = aws_security_group.https["https"].id
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value
  description       = "https ${each.value}"
}

resource "aws_vpc_security_group_egress_rule" "https" {
  for_each                     = local.https
  security_group_id            = aws_security_group.https["https"].id
  referenced_security_group_id = var.security_group_id
  ip_protocol                  = "tcp"
  from_port                    = var.ports.http
  to_port                      = var.ports.http
  description                  = "Gateways"
}

resource "aws_vpc_security_group_ingress_rule" "gateways_https" {
  for_each                     = local.https
  security_group_id            = var.security_group_id
  referenced_security_group_id = aws_security_group.https["https"].id
  ip_protocol                  = "tcp"
  from_port                    = var.ports.http
  to_port                      = var.ports.http
  description                  = "HTTPS load balancer"
}

resource "aws_lb" "https" {
  for_each                   = local.https
  name                       = "${var.name}-ingest-https"
  load_balancer_type         = "application"
  internal                   = false
  subnets                    = values(var.subnets)
  security_groups            = [aws_security_group.https["https"].id]
  drop_invalid_header_fields = true
  idle_timeout               = 60 # longer than push.idleTimeout, so that klive gives the reason
}

resource "aws_lb_target_group" "https" {
  for_each             = local.https
  name                 = "${var.name}-https-${var.ports.http}"
  vpc_id               = var.deployment.vpc_id
  target_type          = "ip"
  port                 = var.ports.http
  protocol             = "HTTP"
  deregistration_delay = local.drain
  health_check {
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

resource "aws_lb_listener" "https" {
  for_each          = local.https
  load_balancer_arn = aws_lb.https["https"].arn
  port              = 443
  protocol          = "HTTPS"
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"
  default_action {
    type = "fixed-response"
    fixed_response {
      content_type = "text/plain"
      status_code  = "404"
      message_body = "This address takes streams: POST to ${join(" or ", [for p in local.paths : trimsuffix(p, "*")])}<stream name>."
    }
  }
}

resource "aws_lb_listener_rule" "https" {
  for_each     = local.https
  listener_arn = aws_lb_listener.https["https"].arn
  priority     = 10
  condition {
    path_pattern {
      values = local.paths
    }
  }
  action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.https["https"].arn
  }
}
