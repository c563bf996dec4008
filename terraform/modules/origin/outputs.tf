output "balancer_arn" {
  description = "The load balancer that the CDN's VPC origin leads to."
  value       = aws_lb.this.arn
}

output "log_group" {
  description = "Where origins log."
  value       = module.task.log_group
}
