variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "vpc_id" {
  type        = string
  description = "The VPC."
}

variable "subnets" {
  type        = map(string)
  description = "Private subnets by zone. A node of the bus stands in each; there are three."
}

variable "client_security_group_ids" {
  type        = map(string)
  description = "Security groups of the tasks that use the bus, by role."
}

variable "image" {
  type        = string
  description = "The gateway image: it holds klive, which is the bus as well."
}

variable "instance_type" {
  type        = string
  description = "EC2 type of a node."
}

variable "architecture" {
  type        = string
  description = "X86_64 or ARM64: what the image and the type are."
}

variable "namespace" {
  type        = string
  description = "CloudWatch namespace of the nodes' metrics."
}

variable "volume_gib" {
  type        = number
  description = "GiB of the EBS volume that holds a node's records."
  validation {
    condition     = var.volume_gib >= 20 && var.volume_gib <= 16384
    error_message = "Set volume_gib to 20 to 16384 GiB: the records take 8 GiB at most, and gp3 has a least size for speed."
  }
}

variable "memory_mib" {
  type        = number
  description = "MiB that a node may hold parts in; the instance needs half as much again."
}

variable "secret_arn" {
  type        = string
  description = "Secret with the keys busPassword and cluster."
}

variable "tls_secret_arn" {
  type        = string
  description = "Secret with the keys ca, cert and key: PEM texts of the nodes' certificate and who signed it."
}

variable "kms_key_arn" {
  type        = string
  description = "Key of volumes, secrets and logs."
}

variable "log_retention_days" {
  type        = number
  description = "Days for which logs stay."
}

variable "secret_key_arns" {
  type        = list(string)
  description = "Keys of yours that the secrets are encrypted with; none for AWS's."
}
