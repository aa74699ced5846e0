"""Programs for the people who work here: none of them runs during a request."""
