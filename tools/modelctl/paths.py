"""Where things lie in this repository, for commands that must not import scikit-learn to know it."""

from models.config import MODELS

__all__ = ["BASELINE_FILE", "BUILD", "EXAMPLE_FILE", "LOCAL_DEPLOYMENT", "MODELS", "PAGE_FILE", "REPORT_FILE"]

BUILD = MODELS.parent / "build" / "models"
"""A folder a model: what training left."""
EXAMPLE_FILE = "example.json"
REPORT_FILE = "report.json"
"""All that was measured of a version."""
PAGE_FILE = "report.html"
"""The same for a person to look at."""
BASELINE_FILE = "baseline.json"
"""How the features and answers are distributed, which drift is measured from."""
LOCAL_DEPLOYMENT = MODELS.parent / "build" / "local" / "deployment.json"
"""Written while `make run` runs."""
