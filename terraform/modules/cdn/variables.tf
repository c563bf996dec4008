variable "name" {
  type        = string
  description = "Prefix of every name."
}

variable "origin" {
  type        = object({ balancer_arn = string, domain = string })
  description = "The origins' load balancer, and the name in its certificate."
}

variable "bucket" {
  type        = object({ id = string, arn = string, domain = string, prefix = string })
  description = "The live bucket, which answers when no origin does."
}

variable "playlist_seconds" {
  type        = number
  description = "The longest that the CDN holds a playlist: half a segment."
  validation {
    condition     = var.playlist_seconds >= 1 && var.playlist_seconds <= 6
    error_message = "Set playlist_seconds to 1 to 6, half of segment.duration."
  }
}

variable "aliases" {
  type        = list(string)
  description = "Names of your own for viewers; none for CloudFront's."
}

variable "certificate_arn" {
  type        = string
  description = "ACM certificate of the aliases, in us-east-1; null without aliases."
  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:aws:acm:us-east-1:", var.certificate_arn))
    error_message = "Set viewer_certificate_arn to an ACM certificate in us-east-1: CloudFront takes no other."
  }
}

variable "signing_keys" {
  type        = map(string)
  description = "Public keys, PEM, by name. With any, viewers need a signed address or cookie."
  validation {
    condition     = alltrue([for k in values(var.signing_keys) : startswith(trimspace(k), "-----BEGIN PUBLIC KEY-----")])
    error_message = "Set signing_keys to PEM public keys, which begin with -----BEGIN PUBLIC KEY-----."
  }
}

variable "web_acl_arn" {
  type        = string
  description = "WAF web ACL of scope CLOUDFRONT; null for none."
}

variable "waf" {
  type        = bool
  description = "Make a WAF web ACL that limits each address's requests."
}

variable "waf_requests" {
  type        = number
  description = "Requests of one address within five minutes beyond which it is blocked."
  validation {
    condition     = var.waf_requests >= 100
    error_message = "Set waf_requests to 100 or more; a viewer alone makes some 300 in five minutes."
  }
}

variable "cors_origins" {
  type        = list(string)
  description = "Origins of the web pages whose players may read."
}

variable "price_class" {
  type        = string
  description = "Where CloudFront serves from."
  validation {
    condition     = contains(["PriceClass_100", "PriceClass_200", "PriceClass_All"], var.price_class)
    error_message = "Set price_class to PriceClass_100, PriceClass_200 or PriceClass_All."
  }
}
