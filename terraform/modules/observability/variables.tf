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

variable "backlog_seconds" {
  type        = number
  description = "Age of the oldest transcode job that is worth an alarm."
}
