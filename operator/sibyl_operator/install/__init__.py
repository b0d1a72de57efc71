"""What installs the operator, as far as it is generated: the values of the Helm chart, its CRD and its rights."""
