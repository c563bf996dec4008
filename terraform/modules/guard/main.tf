# Stands before all else when a deployment is destroyed: with something in a bucket nothing is
# removed. S3 refuses to remove a bucket that holds something as well, but Terraform comes to the
# buckets last, when gateways, bus and CDN are gone.
resource "terraform_data" "this" {
  input = { buckets = join(" ", var.buckets), region = var.region, forced = var.forced }

  provisioner "local-exec" {
    when        = destroy
    quiet       = true
    environment = { BUCKETS = self.input.buckets, REGION = self.input.region, FORCED = self.input.forced }
    command     = <<-SH
      [ "$FORCED" != true ] || exit 0
      for bucket in $BUCKETS; do
        held=$(aws s3api list-objects-v2 --bucket "$bucket" --region "$REGION" --max-keys 1 --query 'length(Contents || `[]`)' --output text 2>&1)
        case $held in
        0 | *NoSuchBucket*) continue ;;
        1) echo "The bucket $bucket is not empty, so nothing is destroyed. To lose what it holds set force_destroy = true and apply; then destroy." >&2 ;;
        *) echo "Whether the bucket $bucket is empty can't be told, so nothing is destroyed: $held. Give this shell the AWS CLI and credentials; or set force_destroy = true and apply, then destroy." >&2 ;;
        esac
        exit 1
      done
    SH
  }
}
