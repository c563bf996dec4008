variable "buckets" {
  type        = list(string)
  description = "Buckets that have to be empty, that of recorded files first."
}

variable "region" {
  type        = string
  description = "Region of the buckets."
}

variable "forced" {
  type        = bool
  description = "Destroy whatever the buckets hold."
}
