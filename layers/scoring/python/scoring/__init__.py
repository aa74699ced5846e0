"""Scores data sets: files of rows in, the same rows with predictions out, with constant memory."""
