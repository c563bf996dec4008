# EC2 instances with a GPU, as many as the tasks ask for.
locals {
  gpu = var.gpu.enabled ? { gpu = true } : {}
}

data "aws_iam_policy_document" "gpu_trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

resource "aws_iam_role" "gpu" {
  for_each           = local.gpu
  name               = "${var.name}-gpu"
  assume_role_policy = data.aws_iam_policy_document.gpu_trust.json
}

resource "aws_iam_role_policy_attachment" "gpu" {
  for_each   = local.gpu
  role       = aws_iam_role.gpu["gpu"].name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonEC2ContainerServiceforEC2Role"
}

resource "aws_iam_instance_profile" "gpu" {
  for_each = local.gpu
  name     = "${var.name}-gpu"
  role     = aws_iam_role.gpu["gpu"].name
}

resource "aws_launch_template" "gpu" {
  for_each               = local.gpu
  name                   = "${var.name}-gpu"
  image_id               = "resolve:ssm:/aws/service/ecs/optimized-ami/amazon-linux-2023/gpu/recommended/image_id"
  instance_type          = var.gpu.instance_type
  vpc_security_group_ids = [var.security_group_id]
  iam_instance_profile {
    arn = aws_iam_instance_profile.gpu["gpu"].arn
  }
  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
  block_device_mappings {
    device_name = "/dev/xvda"
    ebs {
      volume_type = "gp3"
      volume_size = 60
      encrypted   = true
      kms_key_id  = var.deployment.kms_key_arn
    }
  }
  user_data = base64encode("#!/bin/bash\necho ECS_CLUSTER=${var.deployment.cluster_name} >>/etc/ecs/ecs.config\necho ECS_ENABLE_GPU_SUPPORT=true >>/etc/ecs/ecs.config\n")
}

resource "aws_autoscaling_group" "gpu" {
  for_each              = local.gpu
  name                  = "${var.name}-gpu"
  min_size              = 0
  max_size              = var.gpu.max
  vpc_zone_identifier   = values(var.subnets)
  protect_from_scale_in = true # ECS lifts it when no task is left
  force_delete          = true # a destroy does not wait for instances that are protected
  launch_template {
    id      = aws_launch_template.gpu["gpu"].id
    version = aws_launch_template.gpu["gpu"].latest_version
  }
  tag {
    key                 = "AmazonECSManaged"
    value               = "true"
    propagate_at_launch = true
  }
  lifecycle {
    ignore_changes = [desired_capacity]
  }
}

resource "aws_ecs_capacity_provider" "gpu" {
  for_each = local.gpu
  name     = "${var.name}-gpu"
  auto_scaling_group_provider {
    auto_scaling_group_arn         = aws_autoscaling_group.gpu["gpu"].arn
    managed_termination_protection = "ENABLED"
    managed_scaling {
      status          = "ENABLED"
      target_capacity = 100
    }
  }
}
