"""The loop is killed at random moments of each of its stages, and nothing may be lost: ``python -m bench.faults``."""
