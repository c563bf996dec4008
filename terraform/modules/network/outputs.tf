output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "public_subnets" {
  description = "Public subnets, by zone, once they have a way out."
  value       = { for z, s in aws_subnet.public : z => s.id }
  depends_on  = [aws_route_table_association.public]
}

output "private_subnets" {
  description = "Private subnets, by zone, once they have a way out: what starts there fetches its image and packages at once."
  value       = { for z, s in aws_subnet.private : z => s.id }
  depends_on  = [aws_route_table_association.private, aws_vpc_endpoint.s3]
}
