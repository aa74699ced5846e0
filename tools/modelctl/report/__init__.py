"""The page on a version: what it is made of and what was measured of it, for a person to look at."""
