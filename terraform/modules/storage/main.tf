# Two buckets: what is live, with klive's state, and what was recorded. They have different
# lives, and only the first is read by the CDN.
locals {
  buckets = { live = "${var.name}-live", recordings = "${var.name}-recordings" }
  prefix  = "klive" # klive's keys in the live bucket; the CDN reads klive/kLive/ alone
}

resource "aws_s3_bucket" "this" {
  for_each      = local.buckets
  bucket        = each.value
  force_destroy = var.force_destroy # false: S3 refuses to remove a bucket that holds something
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each                = local.buckets
  bucket                  = aws_s3_bucket.this[each.key].id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = local.buckets
  bucket   = aws_s3_bucket.this[each.key].id
  rule {
    bucket_key_enabled = true # one call of KMS for many objects
    apply_server_side_encryption_by_default {
      sse_algorithm     = "aws:kms"
      kms_master_key_id = var.kms_key_arn
    }
  }
}

# klive removes what has left the DVR window itself. The rules are for what it could not
# remove, and never earlier than recordings may need it. klive/state/ has no rule: it is what
# broadcasts, DVR and recordings are found by.
resource "aws_s3_bucket_lifecycle_configuration" "live" {
  bucket = aws_s3_bucket.this["live"].id
  rule {
    id     = "media"
    status = "Enabled"
    filter {
      prefix = "${local.prefix}/kLive/"
    }
    expiration {
      days = var.media_days
    }
  }
  rule {
    id     = "uploads"
    status = "Enabled"
    filter {
      prefix = ""
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }
  lifecycle {
    precondition {
      condition     = var.media_days >= var.recording_needs_days
      error_message = "media_days is less than recording_needs_days, so media would go that recordings still need. Set media_days to at least recording_needs_days."
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "recordings" {
  bucket = aws_s3_bucket.this["recordings"].id
  rule {
    id     = "uploads"
    status = "Enabled"
    filter {
      prefix = ""
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 7
    }
  }
  dynamic "rule" {
    for_each = var.recordings_days > 0 ? [var.recordings_days] : []
    content {
      id     = "recordings"
      status = "Enabled"
      filter {
        prefix = ""
      }
      expiration {
        days = rule.value
      }
    }
  }
  lifecycle {
    precondition {
      condition     = var.recordings_days == 0 || var.recordings_days >= var.recording_needs_days
      error_message = "recordings_days is less than recording_needs_days, so files would go before Kaltura has them. Set recordings_days to 0 or to at least recording_needs_days."
    }
  }
}

resource "aws_s3_bucket_cors_configuration" "live" {
  bucket = aws_s3_bucket.this["live"].id
  cors_rule {
    allowed_methods = ["GET", "HEAD"]
    allowed_origins = var.cors_origins
    allowed_headers = ["Range"]
    expose_headers  = ["Content-Length", "Content-Range", "ETag"]
    max_age_seconds = 86400
  }
}

# The policy of the live bucket is the CDN module's, which knows who may read it.
data "aws_iam_policy_document" "recordings" {
  statement {
    sid       = "TLSOnly"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.this["recordings"].arn, "${aws_s3_bucket.this["recordings"].arn}/*"]
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

resource "aws_s3_bucket_policy" "recordings" {
  bucket     = aws_s3_bucket.this["recordings"].id
  policy     = data.aws_iam_policy_document.recordings.json
  depends_on = [aws_s3_bucket_public_access_block.this]
}
