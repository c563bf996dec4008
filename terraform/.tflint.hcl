# tflint --recursive --config="$PWD/.tflint.hcl", in this folder. The rules are the ones that come with it;
# nothing is fetched.
plugin "terraform" {
  enabled = true
  preset  = "all"
}

# The examples have no variables: what a deployment says stands in their main.tf.
rule "terraform_standard_module_structure" {
  enabled = false
}
