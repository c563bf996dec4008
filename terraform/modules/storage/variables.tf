variable "name" {
  type        = string
  description = "Prefix of the buckets' names."
}

variable "kms_key_arn" {
  type        = string
  description = "Key of both buckets."
}

variable "media_days" {
  type        = number
  description = "Days after which media that klive's own sweeper left behind is removed."
  validation {
    condition     = var.media_days >= 1 && var.media_days <= 3650 && floor(var.media_days) == var.media_days
    error_message = "Set media_days to a whole number of days, 1 to 3650."
  }
}

variable "recording_needs_days" {
  type        = number
  description = "Days for which recordings may still need live media: a recording that Kaltura could not take is retried from them."
  validation {
    condition     = var.recording_needs_days >= 1 && floor(var.recording_needs_days) == var.recording_needs_days
    error_message = "Set recording_needs_days to a whole number of days, 1 or more."
  }
}

variable "recordings_days" {
  type        = number
  description = "Days for which recorded files stay; 0 is for ever."
  validation {
    condition     = var.recordings_days >= 0 && floor(var.recordings_days) == var.recordings_days
    error_message = "Set recordings_days to a whole number of days, or 0 to keep recordings for ever."
  }
}

variable "force_destroy" {
  type        = bool
  description = "Let a destroy remove buckets that are not empty, with all recordings."
}

variable "cors_origins" {
  type        = list(string)
  description = "Origins of the web pages whose players may read media from the bucket."
}
