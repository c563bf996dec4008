provider "aws" {
  region = var.region
  default_tags {
    tags = merge({ Application = "klive", Deployment = var.name }, var.tags)
  }
}
