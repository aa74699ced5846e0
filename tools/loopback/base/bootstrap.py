"""Stands in for bootstrap.py of AWS's Python base image: the runtime client is imported before the path leads to the function."""

import os
import sys

from awslambdaric.__main__ import main

sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
main([os.environ["LAMBDA_TASK_ROOT"], os.environ["_HANDLER"]])
