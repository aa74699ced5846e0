"""Where things lie in this repository, for commands that must not import scikit-learn to know it."""

from models.config import MODELS

__all__ = ["BUILD", "EXAMPLE_FILE", "LOCAL_DEPLOYMENT", "MODELS", "REPORT_FILE"]

BUILD = MODELS.parent / "build" / "models"
"""A folder a model: what training left."""
EXAMPLE_FILE = "example.json"
REPORT_FILE = "report.json"
LOCAL_DEPLOYMENT = MODELS.parent / "build" / "local" / "deployment.json"
"""Written while `make run` runs."""
