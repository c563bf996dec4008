output "network" {
  description = "Network load balancer: DNS name and zone id."
  value       = { dns_name = aws_lb.network.dns_name, zone_id = aws_lb.network.zone_id, arn_suffix = aws_lb.network.arn_suffix }
}

output "https" {
  description = "HTTPS load balancer, null when there is none: DNS name and zone id."
  value       = one([for l in aws_lb.https : { dns_name = l.dns_name, zone_id = l.zone_id }])
}

output "log_group" {
  description = "Where gateways log."
  value       = module.task.log_group
}

output "ports" {
  description = "Where the gateways listen."
  value       = var.ports
}
