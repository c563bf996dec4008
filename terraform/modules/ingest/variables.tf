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
  description = "The gateway image."
}

variable "subnets" {
  type        = map(string)
  description = "Public subnets by zone."
}

variable "security_group_id" {
  type        = string
  description = "Security group of the gateways."
}

variable "certificate_arn" {
  type        = string
  description = "ACM certificate of the ingest name."
}

variable "ports" {
  type = object({
    rtmp   = optional(number, 1935)
    srt    = optional(number, 8890)
    http   = optional(number, 8080)
    webrtc = optional(number, 8189)
  })
  description = "Where the gateways listen; the defaults are the program's."
  default     = {}
  validation {
    condition     = alltrue([for p in values(var.ports) : p >= 1 && p <= 65535 && floor(p) == p]) && length(distinct(values(var.ports))) == length(values(var.ports))
    error_message = "Set ports to whole numbers between 1 and 65535, each another."
  }
}

variable "http_ingest" {
  type        = bool
  description = "Take streams over HTTPS (push), on a load balancer of its own."
}

variable "webrtc" {
  type        = bool
  description = "Take WHIP: its path at the HTTPS load balancer, and the media port open at each gateway."
}

variable "allowed_cidrs" {
  type        = list(string)
  description = "Address ranges that may publish."
  validation {
    condition     = length(var.allowed_cidrs) > 0 && alltrue([for c in var.allowed_cidrs : can(cidrhost(c, 0))])
    error_message = "Set allowed_cidrs to address ranges such as 0.0.0.0/0 or 203.0.113.0/24."
  }
}

variable "size" {
  type        = object({ cpu = number, memory = number, min = number, max = number })
  description = "CPU units and MiB of a gateway, and how many there may be."
  validation {
    condition     = var.size.min >= 1 && var.size.max >= var.size.min
    error_message = "Set min to 1 or more and max to at least min."
  }
}

variable "feeds_per_task" {
  type        = number
  description = "Feeds per gateway that autoscaling aims at."
  validation {
    condition     = var.feeds_per_task >= 1 && var.feeds_per_task <= 1000
    error_message = "Set feeds_per_task to 1 to 1000; a gateway takes 1000 connections at most by itself."
  }
}
