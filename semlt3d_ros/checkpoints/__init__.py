"""Checkpoints of models: read, written, shipped."""
