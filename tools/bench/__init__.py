"""Measures what we promise about speed, always as a ratio to a floor or a peer that ran in the same minute."""
