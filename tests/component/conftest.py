"""Property-based tests here never fail for being slow: tests run side by side on a busy machine."""

from hypothesis import HealthCheck, settings

settings.register_profile("component", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("component")
