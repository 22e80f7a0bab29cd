from hypothesis import HealthCheck, settings

# A busy machine must not fail a test: time is bounded for whole tests only.
settings.register_profile("patient", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
