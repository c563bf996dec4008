output "log_groups" {
  description = "Where workers log, by service."
  value       = { for k, t in module.task : k => t.log_group }
}
