# Stands before all else when a deployment is destroyed: with recordings in their bucket nothing is
# removed. S3 refuses to remove a bucket that holds something as well, but Terraform comes to the
# bucket last, when gateways, bus and CDN are gone.
resource "terraform_data" "this" {
  input = { bucket = var.bucket, region = var.region, forced = var.forced }

  provisioner "local-exec" {
    when        = destroy
    quiet       = true
    environment = { BUCKET = self.input.bucket, REGION = self.input.region, FORCED = self.input.forced }
    command     = <<-SH
      [ "$FORCED" != true ] || exit 0
      held=$(aws s3api list-objects-v2 --bucket "$BUCKET" --region "$REGION" --max-keys 1 --query 'length(Contents || `[]`)' --output text 2>&1)
      case $held in
      0) exit 0 ;;
      *NoSuchBucket*) exit 0 ;;
      1) echo "The bucket $BUCKET holds recordings, so nothing is destroyed. Move them away, or set force_destroy = true and apply; then destroy." >&2 ;;
      *) echo "Whether the bucket $BUCKET holds recordings can't be told, so nothing is destroyed: $held. Give this shell the AWS CLI and credentials, or set force_destroy = true and apply; then destroy." >&2 ;;
      esac
      exit 1
    SH
  }
}
