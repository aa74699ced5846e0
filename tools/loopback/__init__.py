"""A function's process on this machine, and what it reaches there in place of AWS: Lambda's Runtime API, S3, KMS, a network's limits."""
