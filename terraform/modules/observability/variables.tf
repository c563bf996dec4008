variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "region" {
  type        = string
  description = "Region of the metrics."
}

variable "namespace" {
  type        = string
  description = "CloudWatch namespace of klive's metrics."
}

variable "log_groups" {
  type        = map(string)
  description = "klive's log groups, by role."
}

variable "certificate_arn" {
  type        = string
  description = "Certificate whose age is watched."
}

variable "alarm_topic_arns" {
  type        = list(string)
  description = "SNS topics that alarms go to."
}

variable "metrics_every" {
  type        = number
  description = "Seconds between two values of a metric from one process."
  validation {
    condition     = var.metrics_every >= 1 && var.metrics_every <= 60
    error_message = "Set metrics_every to 1 to 60 seconds: alarms and graphs look at each minute."
  }
}

variable "bus" {
  type        = bool
  description = "The bus is the deployment's own: its nodes are watched too."
}

variable "backlog_seconds" {
  type        = number
  description = "Age of the oldest transcode job that is worth an alarm."
}
