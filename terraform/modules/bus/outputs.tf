output "url" {
  description = "bus.url of every role."
  value       = join(",", [for h in local.hosts : "tls://${h}:${local.port}"])
}

output "log_group" {
  description = "Where the nodes log."
  value       = aws_cloudwatch_log_group.this.name
}
