"""Holds the predict function against the servers that a team would otherwise run, each from an environment of its own."""
