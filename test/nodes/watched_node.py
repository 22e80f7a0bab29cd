"""A detector node whose models do as their names say: ``watched_node.py DOMAIN [NAME:=VALUE ...]``.

Versions are real ones of a model folder. What each does is in ``kinds.json`` of that folder: nothing more than answer,
``fails`` at every set, ``dies`` at its second, is ``slow`` by what it says of itself, ``silent``, or ``flat``: sure of
all it finds.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from fake_node import FakeDetector

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.signals import stopped_by_signals


class VersionDetector(FakeDetector):
    """Stands for a version of a model folder; finds 20 boxes in every set, most of them doubtful."""

    def __init__(self, path: Path, kinds: dict[str, str]) -> None:
        super().__init__()
        self.model_version = path.resolve().parent.name
        self.kind = kinds.get(self.model_version, "")
        if self.kind == "unloadable":
            raise ConfigurationError("it is not to be loaded")
        self.trial_frames = 0

    def detect(self, frame: Any) -> Any:
        real = frame.views[0].name.startswith("CAM")
        self.trial_frames += real
        if self.kind == "fails" and real:
            raise RuntimeError("no answer")
        if self.kind == "dies" and self.trial_frames > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        found = super().detect(frame)
        self.last_timings = {"batch": 0.0, "forward": 30.0 if self.kind == "slow" else 10.0, "decode": 0.0}
        many = found[np.zeros(0 if self.kind == "silent" else 20, np.int64)]
        many.confidences = np.full_like(many.confidences, 0.01)
        many.confidences[:, 0] = 0.97 if self.kind == "flat" else np.linspace(0.06, 0.9, len(many)) ** 2 + 0.05
        return replace(many, model_version=self.model_version)


def opening(folder: Path) -> Any:
    """What opens the versions of a model folder."""

    def opened(path: Path | None, device: str) -> VersionDetector:
        assert path is not None
        return VersionDetector(path, json.loads((folder / "kinds.json").read_text()))

    return opened


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    folder = next(Path(text.split(":=")[1]) for text in sys.argv if text.startswith("model_folder:="))
    middleware = DdsMiddleware(NODE_NAME, int(sys.argv[1]), parameter_overrides=sys.argv[2:])
    with stopped_by_signals(middleware):
        node = DetectorNode(middleware, opening(folder))
        node.lifecycle.run("configure")
        node.lifecycle.run("activate")
        print("ready", flush=True)
        middleware.spin()
        node.close()
    middleware.shutdown()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
