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
  description = "The worker image: an origin makes thumbnails and posters with ffmpeg."
}

variable "subnets" {
  type        = map(string)
  description = "Private subnets by zone."
}

variable "security_group_id" {
  type        = string
  description = "Security group of the origins."
}

variable "certificate_arn" {
  type        = string
  description = "ACM certificate of the origin's name."
}

variable "live_bucket_arn" {
  type        = string
  description = "Bucket of live media and state."
}

variable "port" {
  type        = number
  description = "Where origins listen; the default is the program's."
  default     = 8080
  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "Set port to a whole number between 1 and 65535."
  }
}

variable "size" {
  type        = object({ cpu = number, memory = number, min = number, max = number })
  description = "CPU units and MiB of an origin, and how many there may be."
  validation {
    condition     = var.size.min >= 1 && var.size.max >= var.size.min
    error_message = "Set min to 1 or more and max to at least min."
  }
}
