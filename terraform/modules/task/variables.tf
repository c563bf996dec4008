variable "name" {
  type        = string
  description = "Name of the task: deployment and role."
}

variable "image" {
  type        = string
  description = "Image of klive."
}

variable "init_image" {
  type        = string
  description = "Image with a shell, which writes the bus's authority into a file before klive starts."
}

variable "command" {
  type        = list(string)
  description = "klive's arguments."
}

variable "environment" {
  type        = map(string)
  description = "Settings, by their names in the environment."
}

variable "secrets" {
  type        = map(string)
  description = "Settings that Secrets Manager holds: names to valueFrom."
}

variable "bus_ca" {
  type        = string
  description = "valueFrom of the PEM text of who signed the bus's certificate; null for the system's roots."
}

variable "secret_arns" {
  type        = list(string)
  description = "Secrets that the task may be started with."
}

variable "policy_json" {
  type        = string
  description = "What the task itself may do."
}

variable "cpu" {
  type        = number
  description = "CPU units of the task."
  validation {
    condition     = contains([256, 512, 1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "Set cpu to what Fargate has: 256, 512, 1024, 2048, 4096, 8192 or 16384 units."
  }
}

variable "memory" {
  type        = number
  description = "MiB of memory of the task."
}

variable "ports" {
  type        = map(object({ port = number, protocol = string }))
  description = "Ports that the container listens on, by name."
  default     = {}
}

variable "gpus" {
  type        = number
  description = "GPUs of the task; 0 for Fargate, which has none."
  default     = 0
}

variable "stop_timeout" {
  type        = number
  description = "Seconds between SIGTERM and SIGKILL."
  validation {
    condition     = var.stop_timeout >= 30 && var.stop_timeout <= 120
    error_message = "Set stop_timeout to 30 to 120 seconds; Fargate allows no more than 120."
  }
}

variable "architecture" {
  type        = string
  description = "X86_64 or ARM64."
  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "Set architecture to X86_64 or ARM64, whichever the image was built for."
  }
}

variable "spool_gib" {
  type        = number
  description = "GiB of the task's own disk."
  default     = 30
  validation {
    condition     = var.spool_gib >= 21 && var.spool_gib <= 200
    error_message = "Set spool_gib to 21 to 200, which is what Fargate takes."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "Key of the log and of the secrets."
}

variable "log_retention_days" {
  type        = number
  description = "Days for which the log stays."
}

variable "secret_key_arns" {
  type        = list(string)
  description = "Keys of yours that the secrets are encrypted with; none for AWS's."
}
