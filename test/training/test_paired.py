"""Gains over seeds: by hand, with intervals that know a gain from none, of runs that were kept on disk."""

import numpy as np
import pytest

from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Labels
from semlt3d_ros.evaluation import EvaluationSettings
from semlt3d_ros.training.paired import Kept, drawn_figures, gains

SETTINGS = EvaluationSettings()
NAMES = SETTINGS.protocol.class_names
CHILD, BUS = NAMES.index("child"), NAMES.index("bus")
DRIVES = 12


def answers(seed: int, knows: float) -> list[tuple[int, Detections, Labels]]:
    """Children and buses that all have a box, of which a share is called by its name."""
    random, found = np.random.default_rng([seed, round(100 * knows)]), []
    for drive in range(DRIVES):
        places = np.column_stack([np.arange(8) * 4.0 - 14.0, np.full(8, 3.0), np.zeros(8)])
        boxes = Boxes3D(places, np.tile([1.0, 1.0, 1.5], (8, 1)), np.zeros(8), np.zeros((8, 2)))
        truth = np.array([CHILD, BUS] * 4)
        told = np.where(random.random(8) < knows, truth, random.permutation(truth))
        confidences = np.zeros((8, len(NAMES)), np.float32)
        confidences[np.arange(8), told] = 0.2 + 0.7 * random.random(8)
        found.append((drive, Detections(0, boxes, confidences), Labels(boxes, truth)))
    return found


def row(knows: float, seeds: int) -> dict[str, np.ndarray]:
    kept = [Kept.of(answers(seed, knows), DRIVES, SETTINGS) for seed in range(seeds)]
    return drawn_figures(kept, SETTINGS.protocol, 60)


def test_a_gain_is_told_from_none() -> None:
    poor, good = row(0.2, 2), row(0.9, 2)
    few = "AP given a box, few"
    better = gains(poor, good, DRIVES)[few]
    assert better.interval is not None and better.interval[0] > 0.1 and len(better.values) == 2
    assert better.gain == pytest.approx(np.mean(better.values) - poor[few][:, 0].mean())
    assert gains(poor, poor, DRIVES)["AP, few"].interval == (0.0, 0.0)
    alone = gains({name: values[:1] for name, values in poor.items()}, good, DRIVES)[few]
    assert alone.gain == pytest.approx(good[few][:, 0].mean() - poor[few][0, 0])


def test_what_was_kept_is_read_back(tmp_path) -> None:
    kept = Kept.of(answers(0, 0.5), DRIVES, SETTINGS)
    kept.save(tmp_path / "run.npz")
    read, once = Kept.load(tmp_path / "run.npz"), np.ones((1, DRIVES), np.int64)
    assert vars(read.matches).keys() == vars(kept.matches).keys()
    for name, values in kept.figures(SETTINGS.protocol, once).items():
        np.testing.assert_array_equal(read.figures(SETTINGS.protocol, once)[name], values)
