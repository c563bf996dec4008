output "url" {
  description = "bus.url of every role, once the nodes answer: tasks that wait for a bus for minutes are ended, and a service's first rollout given up."
  value       = join(",", [for h in local.hosts : "tls://${h}:${local.port}"])
  depends_on  = [aws_autoscaling_group.this, aws_vpc_security_group_ingress_rule.clients]
}

output "log_group" {
  description = "Where the nodes log."
  value       = aws_cloudwatch_log_group.this.name
}
