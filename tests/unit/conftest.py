from hypothesis import HealthCheck, settings

# A shared machine is slow at times; what counts is that these run at all, and the same everywhere.
settings.register_profile("suite", deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow], database=None)
settings.load_profile("suite")
