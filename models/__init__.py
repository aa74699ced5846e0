"""One folder a model: what to deploy and what it must reach (model.toml), and how it is trained (train.py)."""
