"""What a run leaves for people to follow it by: lines of JSON, pictures, and TensorBoard's file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.outputs import whole
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.training.tensorboard import Board

LOG_NAME = "log.jsonl"


class Record:
    """Grows in a run's folder: ``log.jsonl``, ``pictures/<step>/<name>.png``, and ``events.out.tfevents.*``.

    Args:
        folder: of the run.
        board: shows the same in TensorBoard; None does without.
    """

    def __init__(self, folder: Path, board: Board | None = None) -> None:
        self._folder, self._board = folder, board

    def losses(self, step: int, losses: dict[str, float], rate: float) -> None:
        """Losses, smoothed, and the learning rate at a step."""
        self._write({"step": step, "time": time.time(), "rate": rate, "losses": losses})
        self._show(step, {**{f"loss/{name}": value for name, value in losses.items()}, "rate": rate})

    def evaluation(self, step: int, losses: dict[str, float], rate: float, report: Report) -> None:
        """What validation gave at a step."""
        line = {"step": step, "time": time.time(), "rate": rate, "losses": losses}
        points = {} if report.segmentation is None else {"miou": report.segmentation.miou}
        self._write({**line, "map": report.map, "groups": report.groups, "ap": report.ap, **points})
        figures = {"validation/map": report.map} | {f"validation/{name}": value for name, value in points.items()}
        figures |= {f"validation/map of {group}": value for group, value in report.groups.items()}
        figures |= {f"validation ap/{name}": value for name, value in report.ap.items()}
        self._show(step, {name: value for name, value in figures.items() if value is not None})

    def pictures(self, step: int, pictures: Iterable[tuple[str, NDArray[np.uint8]]]) -> None:
        """Pictures (H, W, 3) RGB of validation frames at a step."""
        for name, picture in pictures:
            with whole(self._folder / "pictures" / f"{step:07d}" / f"{name}.png") as draft:
                cv2.imwrite(str(draft), picture[..., ::-1])
            if self._board is not None:
                self._board.picture(step, name, picture)

    def close(self) -> None:
        """Nothing more will come."""
        if self._board is not None:
            self._board.close()

    def _write(self, line: dict[str, Any]) -> None:
        with open(self._folder / LOG_NAME, "a") as file:
            file.write(json.dumps(line) + "\n")

    def _show(self, step: int, figures: dict[str, float]) -> None:
        if self._board is not None:
            self._board.scalars(step, figures)
