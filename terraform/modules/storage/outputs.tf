output "live" {
  description = "The live bucket: id, arn, regional domain and the prefix of klive's keys."
  value = {
    id     = aws_s3_bucket.this["live"].id
    arn    = aws_s3_bucket.this["live"].arn
    domain = aws_s3_bucket.this["live"].bucket_regional_domain_name
    prefix = local.prefix
  }
  depends_on = [aws_s3_bucket_public_access_block.this, aws_s3_bucket_server_side_encryption_configuration.this]
}

output "recordings" {
  description = "The bucket of recorded files: id and arn."
  value = {
    id  = aws_s3_bucket.this["recordings"].id
    arn = aws_s3_bucket.this["recordings"].arn
  }
  depends_on = [aws_s3_bucket_public_access_block.this, aws_s3_bucket_server_side_encryption_configuration.this]
}
