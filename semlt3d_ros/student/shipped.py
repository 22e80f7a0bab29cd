"""The checkpoint that comes with the package; for those who only need to know where it is, without torch."""

from __future__ import annotations

from pathlib import Path


def default_checkpoint() -> Path:
    """The checkpoint that comes with the package: trained on the simulated world only."""
    return Path(__file__).resolve().parent.parent / "weights" / "demo.safetensors"
