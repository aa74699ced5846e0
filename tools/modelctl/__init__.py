"""The life of a model: train, evaluate, convert, publish, promote, roll back."""
