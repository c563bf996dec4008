variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "deployment" {
  type = object({
    cluster_arn        = string
    cluster_name       = string
    vpc_id             = string
    kms_key_arn        = string
    log_retention_days = number
    environment        = map(string)
    secrets            = map(string)
    bus_ca             = string
    secret_arns        = list(string)
    secret_key_arns    = list(string)
    init_image         = string
    architecture       = string
    namespace          = string
  })
  description = "What all roles of the deployment share: cluster, network, key, settings, secrets and the namespace of metrics."
}

variable "image" {
  type        = string
  description = "The worker image, which has ffmpeg."
}

variable "gpu_image" {
  type        = string
  description = "The worker image for GPU instances; null for the same."
}

variable "subnets" {
  type        = map(string)
  description = "Private subnets by zone."
}

variable "security_group_id" {
  type        = string
  description = "Security group of the workers."
}

variable "live_bucket_arn" {
  type        = string
  description = "Bucket of live media and state."
}

variable "recordings_bucket_arn" {
  type        = string
  description = "Bucket of recorded files."
}

variable "owners" {
  type        = object({ cpu = number, memory = number, count = number })
  description = "CPU units and MiB of a worker that owns entries, and how many there are."
  validation {
    condition     = var.owners.count >= 2
    error_message = "Set owners.count to 2 or more: when one ends, another takes its entries."
  }
}

variable "transcode" {
  type        = object({ cpu = number, memory = number, min = number, max = number })
  description = "CPU units and MiB of a transcode worker, and how many there may be; max 0 for none."
  validation {
    condition     = var.transcode.max == 0 || (var.transcode.min >= 1 && var.transcode.max >= var.transcode.min)
    error_message = "Set transcode.min to 1 or more and transcode.max to at least min, or max to 0 for no transcoding: it is the workers that tell how long jobs wait, so with none of them there would never be one."
  }
}

variable "backlog_seconds" {
  type        = number
  description = "Age of the oldest transcode job beyond which there is one worker more; well below the target duration."
  validation {
    condition     = var.backlog_seconds >= 0.5 && var.backlog_seconds <= 10
    error_message = "Set backlog_seconds to 0.5 to 10: a rung that is later than two target durations is a gap."
  }
}

variable "gpu" {
  type        = object({ enabled = bool, instance_type = string, min = number, max = number })
  description = "Transcode on EC2 instances with a GPU instead of Fargate Spot."
  validation {
    condition     = !var.gpu.enabled || (can(regex("^g[4-6]", var.gpu.instance_type)) && var.gpu.min >= 1 && var.gpu.max >= 2 && var.gpu.max >= var.gpu.min)
    error_message = "Set gpu.instance_type to one with an NVIDIA GPU that encodes, such as g4dn.xlarge or g6.xlarge, gpu.min to 1 or more, and gpu.max to 2 or more and at least gpu.min: a rollout starts a new worker beside the old one."
  }
}
