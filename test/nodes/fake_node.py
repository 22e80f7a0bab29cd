"""A detector node with a detector that needs no model: ``fake_node.py DOMAIN [NAME:=VALUE ...]``.

What it finds depends on every pixel, on the poses, and on how many frames it has seen since it was last reset.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import Counter

import numpy as np

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import CLASS_NAMES, LT3D
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.nodes.detector import DetectorNode
from semlt3d_ros.nodes.detector_parameters import NODE_NAME
from semlt3d_ros.nodes.signals import stopped_by_signals


class FakeDetector:
    """One box per view; its height says how many frames were seen since the last reset."""

    image_spec = ImageSpec(32, 16)
    whole_width = None
    model_version = "fake@0"

    def __init__(self) -> None:
        self.trained = self.class_names = CLASS_NAMES
        self.classes = LT3D
        self.last_timings: dict[str, float] = {}
        self.memory_resets: Counter[str] = Counter()
        self.frames = 0
        self.resets = 0
        self.device = "cpu"

    def reset(self) -> None:
        self.frames = 0
        self.resets += 1

    def move_to(self, device: str) -> None:
        self.device = device

    def accelerator_memory(self) -> dict[str, float]:
        return {}

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        if anchors is not None:
            anchors.require(8, "fake")
        self.class_names = self.trained if anchors is None else (*self.trained, *anchors.names)

    def detect(self, frame: Frame) -> Detections:
        start = time.perf_counter()
        self.frames += 1
        count = len(frame.views)
        pixels = np.array([view.image.astype(np.float64).reshape(-1, 3).mean(0) for view in frame.views])
        checks = [int(np.arange(view.image.size) @ view.image.reshape(-1)) % 1009 for view in frame.views]
        poses = np.array([view.T_ego_camera[:2, 3] for view in frame.views])
        boxes = Boxes3D(
            np.column_stack([poses, np.full(count, float(self.frames))]),
            1.0 + pixels / 255,
            np.array(checks) * 1e-3,
            np.zeros((count, 2)),
        )
        confidences = np.zeros((count, len(self.class_names)), np.float32)
        confidences[np.arange(count), np.arange(count)] = pixels.mean(1) / 255
        spent = (time.perf_counter() - start) * 1e3
        self.last_timings = {"batch": 0.0, "forward": spent, "decode": 0.0}
        return Detections(
            frame.stamp,
            boxes,
            confidences,
            self.class_names,
            cameras=tuple(view.name for view in frame.views),
            missing=frame.missing,
            model_version=self.model_version,
        )


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    middleware = DdsMiddleware(NODE_NAME, int(sys.argv[1]), parameter_overrides=sys.argv[2:])
    with stopped_by_signals(middleware):
        node = DetectorNode(middleware, lambda path, device: FakeDetector())
        node.lifecycle.run("configure")
        node.lifecycle.run("activate")
        print("ready", flush=True)
        middleware.spin()
        node.close()
    middleware.shutdown()
    print("ended", flush=True)


if __name__ == "__main__":
    main()
