output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnets" {
  description = "Public subnets, by zone."
  value       = { for z, s in aws_subnet.public : z => s.id }
}

output "private_subnets" {
  description = "Private subnets, by zone."
  value       = { for z, s in aws_subnet.private : z => s.id }
}
