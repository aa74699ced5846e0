"""What is described to CloudFormation."""
