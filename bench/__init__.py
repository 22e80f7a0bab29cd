"""Benchmarks: `python -m bench.NAME` prints a table, with `--json` the same figures for programs."""
