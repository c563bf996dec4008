variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "cidr" {
  type        = string
  description = "Address range of the VPC."
  validation {
    condition     = can(cidrsubnet(var.cidr, 8, 0)) && can(regex("/(1[6-9]|20)$", var.cidr))
    error_message = "Set cidr to an IPv4 range of /16 to /20, such as 10.40.0.0/16."
  }
}

variable "zones" {
  type        = list(string)
  description = "Availability zones, two or more."
  validation {
    condition     = length(var.zones) >= 2 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Name at least two different availability zones."
  }
}

variable "kms_key_arn" {
  type        = string
  description = "Key that encrypts the flow logs."
}

variable "log_retention_days" {
  type        = number
  description = "Days for which flow logs stay."
}
