output "bucket" {
  description = "The bucket that keeps a deployment from being destroyed."
  value       = terraform_data.this.output.bucket
}
