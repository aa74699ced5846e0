"""The commands of modelctl, by what they do."""
