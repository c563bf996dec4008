# CloudFront before the origins. When they don't answer, the bucket does: it has the same paths.
locals {
  playlists = ["*.m3u8", "*.mpd"]
  signed    = length(var.signing_keys) > 0
}

resource "aws_cloudfront_origin_access_control" "this" {
  name                              = var.name
  description                       = "Reads the live bucket"
  origin_access_control_origin_type = "s3"
  signing_behavior                  = "always"
  signing_protocol                  = "sigv4"
}

resource "aws_cloudfront_vpc_origin" "this" {
  vpc_origin_endpoint_config {
    name                   = "${var.name}-origin"
    arn                    = var.origin.balancer_arn
    http_port              = 80
    https_port             = 443
    origin_protocol_policy = "https-only"
    origin_ssl_protocols {
      items    = ["TLSv1.2"]
      quantity = 1
    }
  }
}

resource "aws_cloudfront_function" "rewrite" {
  name    = "${var.name}-dvr"
  runtime = "cloudfront-js-2.0"
  comment = "?DVR becomes playlist-dvr.m3u8, ?token= goes into the path; no tricks with paths"
  publish = true
  code    = file("${path.module}/rewrite.js")
}

# A playlist differs by these names and no others; a viewer's token or signature is no part of
# the key, so all viewers share it.
resource "aws_cloudfront_cache_policy" "playlist" {
  name        = "${var.name}-playlist"
  comment     = "Playlists, as long as the origin says and no longer than half a segment"
  min_ttl     = 0
  default_ttl = 1
  max_ttl     = var.playlist_seconds
  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_gzip   = true
    enable_accept_encoding_brotli = true
    cookies_config {
      cookie_behavior = "none"
    }
    headers_config {
      header_behavior = "none"
    }
    query_strings_config {
      query_string_behavior = "whitelist"
      query_strings {
        items = ["_HLS_msn", "_HLS_part", "_HLS_skip", "DVR", "flavorIds"]
      }
    }
  }
}

resource "aws_cloudfront_cache_policy" "media" {
  name        = "${var.name}-media"
  comment     = "Media, which never change"
  min_ttl     = 0 # an error's no-store counts
  default_ttl = 86400
  max_ttl     = 31536000
  parameters_in_cache_key_and_forwarded_to_origin {
    enable_accept_encoding_gzip   = false
    enable_accept_encoding_brotli = false
    cookies_config {
      cookie_behavior = "none"
    }
    headers_config {
      header_behavior = "none"
    }
    query_strings_config {
      query_string_behavior = "none"
    }
  }
}

resource "aws_cloudfront_response_headers_policy" "this" {
  name = var.name
  cors_config {
    access_control_allow_credentials = false
    access_control_max_age_sec       = 86400
    origin_override                  = true
    access_control_allow_headers {
      items = ["Range"]
    }
    access_control_allow_methods {
      items = ["GET", "HEAD", "OPTIONS"]
    }
    access_control_allow_origins {
      items = var.cors_origins
    }
    access_control_expose_headers {
      items = ["Content-Length", "Content-Range", "ETag"]
    }
  }
  security_headers_config {
    content_type_options {
      override = true
    }
    strict_transport_security {
      access_control_max_age_sec = 31536000
      override                   = true
    }
  }
}

resource "aws_cloudfront_public_key" "this" {
  for_each    = var.signing_keys
  name_prefix = "${var.name}-${each.key}-"
  encoded_key = "${trimspace(each.value)}\n" # as CloudFront gives it back
  lifecycle {
    create_before_destroy = true # the key group holds the old one until it has the new
  }
}

resource "aws_cloudfront_key_group" "this" {
  for_each = local.signed ? { signed = true } : {}
  name     = var.name
  items    = [for k in aws_cloudfront_public_key.this : k.id]
}

resource "aws_cloudfront_distribution" "this" {
  comment         = var.name
  enabled         = true
  is_ipv6_enabled = true
  http_version    = "http2and3"
  price_class     = var.price_class
  aliases         = var.aliases
  web_acl_id      = var.waf ? aws_wafv2_web_acl.this["waf"].arn : var.web_acl_arn

  origin {
    origin_id   = "service"
    domain_name = var.origin.domain
    vpc_origin_config {
      vpc_origin_id            = aws_cloudfront_vpc_origin.this.id
      origin_read_timeout      = 30
      origin_keepalive_timeout = 60
    }
    connection_attempts = 1
    connection_timeout  = 2 # then the bucket
  }
  origin {
    origin_id                = "bucket"
    domain_name              = var.bucket.domain
    origin_path              = "/${var.bucket.prefix}"
    origin_access_control_id = aws_cloudfront_origin_access_control.this.id
  }
  origin_group {
    origin_id = "live"
    failover_criteria {
      status_codes = [500, 502, 503, 504]
    }
    member {
      origin_id = "service"
    }
    member {
      origin_id = "bucket"
    }
  }

  default_cache_behavior {
    target_origin_id           = "live"
    viewer_protocol_policy     = "redirect-to-https"
    allowed_methods            = ["GET", "HEAD", "OPTIONS"]
    cached_methods             = ["GET", "HEAD"]
    cache_policy_id            = aws_cloudfront_cache_policy.media.id
    response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
    trusted_key_groups         = [for g in aws_cloudfront_key_group.this : g.id]
    function_association {
      event_type   = "viewer-request"
      function_arn = aws_cloudfront_function.rewrite.arn
    }
  }
  dynamic "ordered_cache_behavior" {
    for_each = local.playlists
    content {
      path_pattern               = ordered_cache_behavior.value
      target_origin_id           = "live"
      viewer_protocol_policy     = "redirect-to-https"
      allowed_methods            = ["GET", "HEAD", "OPTIONS"]
      cached_methods             = ["GET", "HEAD"]
      compress                   = true
      cache_policy_id            = aws_cloudfront_cache_policy.playlist.id
      response_headers_policy_id = aws_cloudfront_response_headers_policy.this.id
      trusted_key_groups         = [for g in aws_cloudfront_key_group.this : g.id]
      function_association {
        event_type   = "viewer-request"
        function_arn = aws_cloudfront_function.rewrite.arn
      }
    }
  }
  dynamic "custom_error_response" {
    for_each = [400, 403, 404, 500, 502, 503, 504]
    content {
      error_code            = custom_error_response.value
      error_caching_min_ttl = 1
    }
  }
  restrictions {
    geo_restriction {
      restriction_type = "none"
    }
  }
  viewer_certificate {
    cloudfront_default_certificate = var.certificate_arn == null
    acm_certificate_arn            = var.certificate_arn
    ssl_support_method             = var.certificate_arn == null ? null : "sni-only"
    minimum_protocol_version       = var.certificate_arn == null ? null : "TLSv1.2_2021"
  }
  lifecycle {
    precondition {
      condition     = (length(var.aliases) > 0) == (var.certificate_arn != null)
      error_message = "viewer_domain and viewer_certificate_arn go together: set both or none."
    }
    precondition {
      condition     = !(var.waf && var.web_acl_arn != null)
      error_message = "waf makes a web ACL while web_acl_arn names one: set one or the other."
    }
  }
}

data "aws_iam_policy_document" "bucket" {
  statement {
    sid       = "CDN"
    actions   = ["s3:GetObject"]
    resources = ["${var.bucket.arn}/${var.bucket.prefix}/kLive/*"] # never state/
    principals {
      type        = "Service"
      identifiers = ["cloudfront.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "AWS:SourceArn"
      values   = [aws_cloudfront_distribution.this.arn]
    }
  }
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [var.bucket.arn, "${var.bucket.arn}/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = var.bucket.id
  policy = data.aws_iam_policy_document.bucket.json
}

# CloudFront's firewall lives in us-east-1, wherever the rest is.
resource "aws_wafv2_web_acl" "this" {
  for_each = var.waf ? { waf = true } : {}
  region   = "us-east-1"
  name     = var.name
  scope    = "CLOUDFRONT"
  default_action {
    allow {}
  }
  rule {
    name     = "rate"
    priority = 1
    action {
      block {}
    }
    statement {
      rate_based_statement {
        limit              = var.waf_requests
        aggregate_key_type = "IP"
      }
    }
    visibility_config {
      cloudwatch_metrics_enabled = true
      metric_name                = "rate"
      sampled_requests_enabled   = true
    }
  }
  visibility_config {
    cloudwatch_metrics_enabled = true
    metric_name                = var.name
    sampled_requests_enabled   = true
  }
}
