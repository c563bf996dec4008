output "domain" {
  description = "CloudFront's own name."
  value       = aws_cloudfront_distribution.this.domain_name
}

output "hosted_zone_id" {
  description = "Route 53 zone id of CloudFront, for aliases."
  value       = aws_cloudfront_distribution.this.hosted_zone_id
}

output "arn" {
  description = "The distribution."
  value       = aws_cloudfront_distribution.this.arn
}
