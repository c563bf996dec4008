output "arn" {
  description = "The task definition, with its revision, once its roles may do what they are for."
  value       = aws_ecs_task_definition.this.arn
  depends_on  = [aws_iam_role_policy.start, aws_iam_role_policy.task]
}

output "log_group" {
  description = "Where the task logs."
  value       = aws_cloudwatch_log_group.this.name
}
