output "buckets" {
  description = "The buckets that keep a deployment from being destroyed."
  value       = split(" ", terraform_data.this.output.buckets)
}
