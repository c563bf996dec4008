// Package terraform is the home of the AWS deployment. Its tests run terraform's own checks and
// hold the plans of the examples against what a deployment has to keep to.
package terraform
