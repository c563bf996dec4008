variable "bucket" {
  type        = string
  description = "Bucket of recorded files."
}

variable "region" {
  type        = string
  description = "Region of the bucket."
}

variable "forced" {
  type        = bool
  description = "Destroy whatever the bucket holds."
}
