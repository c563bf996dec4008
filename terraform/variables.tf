variable "name" {
  type        = string
  description = "Name of the deployment; the prefix of all that is made, buckets among it, so it has to be yours alone."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,14}[a-z0-9]$", var.name))
    error_message = "Set name to 3 to 16 lower-case letters, digits and hyphens, beginning with a letter, such as acme-live."
  }
}

variable "region" {
  type        = string
  description = "AWS region."
  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "Set region to an AWS region, such as eu-west-1."
  }
}

variable "zones" {
  type        = list(string)
  description = "Availability zones: three, for the bus; two or more with bus_external."
  validation {
    condition     = length(var.zones) >= 2 && length(var.zones) <= 6 && length(distinct(var.zones)) == length(var.zones)
    error_message = "Set zones to different availability zones, three of them (two to six with bus_external), such as [\"eu-west-1a\", \"eu-west-1b\", \"eu-west-1c\"]."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "Address range of the VPC."
  default     = "10.40.0.0/16"
  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && can(regex("/(1[6-9]|20)$", var.vpc_cidr))
    error_message = "Set vpc_cidr to an IPv4 range of /16 to /20, such as 10.40.0.0/16."
  }
}

variable "tags" {
  type        = map(string)
  description = "Further tags of all that is made."
  default     = {}
}

variable "images" {
  type        = object({ gateway = string, worker = string, gpu = optional(string) })
  description = "Images of klive, with a tag or digest: gateway (also the bus), worker (also the origins), and for gpu.enabled one with an ffmpeg of your own; null for worker, whose ffmpeg has NVENC."
  validation {
    condition     = alltrue([for i in compact([var.images.gateway, var.images.worker, var.images.gpu]) : can(regex("^[a-z0-9.-]+(:[0-9]+)?/.+(:[A-Za-z0-9_.-]+|@sha256:[0-9a-f]{64})$", i)) && !endswith(i, ":latest")])
    error_message = "Set images to registry/name:version or registry/name@sha256:…; not :latest, under which a restart could bring another release."
  }
}

variable "architecture" {
  type        = string
  description = "Processor of the images on Fargate: X86_64 or ARM64."
  default     = "ARM64"
  validation {
    condition     = contains(["X86_64", "ARM64"], var.architecture)
    error_message = "Set architecture to X86_64 or ARM64, whichever the images were built for."
  }
}

variable "domain" {
  type        = string
  description = "Domain of the deployment. Encoders use ingest.<domain> and push.<domain>; origin.<domain> is CloudFront's."
  validation {
    condition     = can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$", var.domain))
    error_message = "Set domain to a domain name without a scheme, such as live.example.com."
  }
}

variable "certificate_arn" {
  type        = string
  description = "ACM certificate in the region for *.<domain>."
  validation {
    condition     = can(regex("^arn:aws:acm:[a-z0-9-]+:[0-9]{12}:certificate/", var.certificate_arn))
    error_message = "Set certificate_arn to an ACM certificate for *.<domain> in the deployment's region."
  }
}

variable "hosted_zone_id" {
  type        = string
  description = "Route 53 zone that the names are entered into; null when you enter them yourself."
  default     = null
}

variable "secret_arn" {
  type        = string
  description = "Secrets Manager secret, JSON with the keys kaltura (admin secret of the partner), cluster, adminToken and busPassword, the last three of 16 characters or more."
  validation {
    condition     = can(regex("^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.secret_arn))
    error_message = "Set secret_arn to the whole ARN, with the six characters at its end, of a Secrets Manager secret with the keys kaltura, cluster, adminToken and busPassword."
  }
}

variable "secret_kms_key_arn" {
  type        = string
  description = "Key that the secrets are encrypted with, when it is one of your own; null for AWS's."
  default     = null
}

variable "kaltura" {
  type        = object({ url = string, partner_id = optional(number, -5), status = optional(string, "serverNode") })
  description = "Kaltura's API: its address, the partner (-5 is the media servers' own), and how status is told."
  validation {
    condition     = can(regex("^https://", var.kaltura.url)) && contains(["mediaServer", "serverNode", "off"], var.kaltura.status)
    error_message = "Set kaltura.url to the https address in front of /api_v3, and kaltura.status to serverNode (servers since 2015), mediaServer or off."
  }
}

variable "bus_tls_secret_arn" {
  type        = string
  description = "Secret with the keys ca, cert and key: PEM texts of a certificate for *.<name>.internal and who signed it. Null with bus_external."
  default     = null
  validation {
    condition     = var.bus_tls_secret_arn == null || can(regex("^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+-[A-Za-z0-9]{6}$", var.bus_tls_secret_arn))
    error_message = "Set bus_tls_secret_arn to the whole ARN, with the six characters at its end, of a Secrets Manager secret with the keys ca, cert and key."
  }
}

variable "bus" {
  type        = object({ instance_type = optional(string), volume_gib = optional(number, 50), memory_mib = optional(number, 8192) })
  description = "Nodes of the bus: EC2 type (null: r7g.large or r7i.large, as architecture is), EBS size, and memory for parts."
  default     = {}
  validation {
    condition     = (var.bus.instance_type == null || can(regex("^[a-z]+[0-9]+[a-z]*\\.[a-z0-9]+$", var.bus.instance_type))) && var.bus.volume_gib >= 20 && var.bus.memory_mib >= 2048
    error_message = "Set bus.instance_type to an EC2 type such as r7g.large, bus.volume_gib to 20 or more and bus.memory_mib to 2048 or more."
  }
}

variable "bus_external" {
  type        = object({ url = string, replicas = optional(number, 3), ca_secret = optional(string) })
  description = "A NATS cluster of yours instead (2.11 or newer, JetStream, max_payload 8MB): address, replicas, and valueFrom of its CA. User klive, password busPassword."
  default     = null
  validation {
    condition     = var.bus_external == null || try(startswith(var.bus_external.url, "tls://") && contains([1, 3, 5], var.bus_external.replicas), false)
    error_message = "Set bus_external.url to tls://host:4222, commas between several, and bus_external.replicas to 1, 3 or 5."
  }
  validation {
    condition     = try(var.bus_external.ca_secret, null) == null || can(regex("^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}(:[^:]*:[^:]*:[^:]*)?$", var.bus_external.ca_secret))
    error_message = "Set bus_external.ca_secret to the ARN of a Secrets Manager secret, followed by :key:: when the PEM text is one of its keys."
  }
}

variable "gateways" {
  type        = object({ cpu = optional(number, 1024), memory = optional(number, 2048), min = optional(number, 2), max = optional(number, 20) })
  description = "Gateways: CPU units, MiB, and how many there may be."
  default     = {}
}

variable "feeds_per_gateway" {
  type        = number
  description = "Feeds per gateway that autoscaling aims at."
  default     = 50
  validation {
    condition     = var.feeds_per_gateway >= 1 && var.feeds_per_gateway <= 1000
    error_message = "Set feeds_per_gateway to 1 to 1000; a gateway takes 1000 connections at most by itself."
  }
}

variable "ingest_cidrs" {
  type        = list(string)
  description = "Address ranges that may publish."
  default     = ["0.0.0.0/0"]
  validation {
    condition     = length(var.ingest_cidrs) > 0 && alltrue([for c in var.ingest_cidrs : can(cidrhost(c, 0))])
    error_message = "Set ingest_cidrs to address ranges such as 0.0.0.0/0 or 203.0.113.0/24."
  }
}

variable "ingest_ports" {
  type        = object({ rtmp = optional(number, 1935), srt = optional(number, 8890), http = optional(number, 8080), webrtc = optional(number, 8189) })
  description = "Ports of the gateways; the defaults are the program's."
  default     = {}
  validation {
    condition     = alltrue([for p in values(var.ingest_ports) : p >= 1 && p <= 65535 && floor(p) == p]) && length(distinct(values(var.ingest_ports))) == 4
    error_message = "Set ingest_ports to whole numbers between 1 and 65535, each another."
  }
}

variable "http_ingest" {
  type        = bool
  description = "Take streams over HTTPS, by push."
  default     = true
}

variable "webrtc" {
  type        = bool
  description = "Take WHIP: its path at the HTTPS load balancer, and the media port open at each gateway."
  default     = true
}

variable "owners" {
  type        = object({ cpu = optional(number, 1024), memory = optional(number, 4096), count = optional(number, 3) })
  description = "Workers that own entries: CPU units, MiB, and their number."
  default     = {}
}

variable "transcode" {
  type        = object({ cpu = optional(number, 4096), memory = optional(number, 8192), min = optional(number, 1), max = optional(number, 20) })
  description = "Transcode workers: CPU units, MiB, and how many there may be; max 0 for none."
  default     = {}
}

variable "transcode_backlog_seconds" {
  type        = number
  description = "Age of the oldest transcode job beyond which there are more workers."
  default     = 2
  validation {
    condition     = var.transcode_backlog_seconds >= 0.5 && var.transcode_backlog_seconds <= 10
    error_message = "Set transcode_backlog_seconds to 0.5 to 10: a rung that is later than two target durations is a gap."
  }
}

variable "gpu" {
  type        = object({ enabled = optional(bool, false), instance_type = optional(string, "g4dn.xlarge"), min = optional(number, 1), max = optional(number, 4) })
  description = "Transcode on EC2 instances with a GPU instead of Fargate Spot."
  default     = {}
}

variable "origins" {
  type        = object({ cpu = optional(number, 1024), memory = optional(number, 2048), min = optional(number, 2), max = optional(number, 10) })
  description = "Origins: CPU units, MiB, and how many there may be."
  default     = {}
}

variable "media_days" {
  type        = number
  description = "Days after which live media that klive has not removed itself go."
  default     = 14
  validation {
    condition     = var.media_days >= 1 && var.media_days <= 3650 && floor(var.media_days) == var.media_days
    error_message = "Set media_days to a whole number of days, 1 to 3650."
  }
}

variable "recording_needs_days" {
  type        = number
  description = "Days for which recordings may still need live media."
  default     = 7
  validation {
    condition     = var.recording_needs_days >= 1 && floor(var.recording_needs_days) == var.recording_needs_days
    error_message = "Set recording_needs_days to a whole number of days, 1 or more."
  }
}

variable "recordings_days" {
  type        = number
  description = "Days for which recorded files stay; 0 is for ever."
  default     = 0
  validation {
    condition     = var.recordings_days >= 0 && floor(var.recordings_days) == var.recordings_days
    error_message = "Set recordings_days to a whole number of days, or 0 to keep recordings for ever."
  }
}

variable "force_destroy" {
  type        = bool
  description = "Let a destroy remove buckets that are not empty, with all recordings in them."
  default     = false
}

variable "log_retention_days" {
  type        = number
  description = "Days for which logs stay."
  default     = 30
  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "Set log_retention_days to a number of days that CloudWatch has: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731 and some years."
  }
}

variable "viewer_domain" {
  type        = string
  description = "A name of your own for viewers; null for CloudFront's."
  default     = null
}

variable "viewer_certificate_arn" {
  type        = string
  description = "ACM certificate of viewer_domain, in us-east-1."
  default     = null
  validation {
    condition     = var.viewer_certificate_arn == null || can(regex("^arn:aws:acm:us-east-1:", var.viewer_certificate_arn))
    error_message = "Set viewer_certificate_arn to an ACM certificate in us-east-1: CloudFront takes no other."
  }
}

variable "signing_keys" {
  type        = map(string)
  description = "Public keys, PEM, by name. With any, viewers need CloudFront's signed addresses or cookies."
  default     = {}
  validation {
    condition     = alltrue([for k in values(var.signing_keys) : startswith(trimspace(k), "-----BEGIN PUBLIC KEY-----")])
    error_message = "Set signing_keys to PEM public keys, which begin with -----BEGIN PUBLIC KEY-----."
  }
}

variable "waf" {
  type        = object({ enabled = optional(bool, false), requests = optional(number, 5000), web_acl_arn = optional(string) })
  description = "A firewall before CloudFront: one that limits each address's requests in five minutes, or a web ACL of yours."
  default     = {}
  validation {
    condition     = var.waf.requests >= 100
    error_message = "Set waf.requests to 100 or more; a viewer alone makes some 300 in five minutes."
  }
}

variable "cors_origins" {
  type        = list(string)
  description = "Origins of the web pages whose players may read."
  default     = ["*"]
  validation {
    condition     = length(var.cors_origins) > 0 && alltrue([for o in var.cors_origins : o == "*" || can(regex("^https?://[^/]+$", o))])
    error_message = "Set cors_origins to [\"*\"] or to origins such as https://www.example.com, without a path."
  }
}

variable "price_class" {
  type        = string
  description = "Where CloudFront serves from."
  default     = "PriceClass_100"
  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "Set price_class to PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}

variable "alarm_topic_arns" {
  type        = list(string)
  description = "SNS topics that alarms go to."
  default     = []
  validation {
    condition     = alltrue([for a in var.alarm_topic_arns : can(regex("^arn:aws:sns:", a))])
    error_message = "Set alarm_topic_arns to ARNs of SNS topics."
  }
}
