"""The pieces by hand: the smoother against solving everything at once, headings, sizes."""

import numpy as np
import pytest

from semlt3d_ros.labelling.agreement import agreed_headings, axis_of, stands, weighted_median
from semlt3d_ros.labelling.settings import LabelSettings
from semlt3d_ros.labelling.smoothing import smoothed
from semlt3d_ros.labelling.tracking import tracked

FAMILIES = ("vehicle", "pedestrian", "movable")


def test_the_smoother_says_what_all_measurements_at_once_say(drive, thing) -> None:
    """Filter and smoother together solve a least-squares problem, which is solved directly here."""
    settings = LabelSettings()
    found, poses = drive([thing(0, (20, 4), (5.0, 1.0))], 7, noise=0.3, ego_mps=0.0, misses=lambda n, k: k == 3)
    (track,) = tracked(found, [pose[:3, 3] for pose in poses], FAMILIES, settings)
    means, covariances = smoothed(track)
    count = len(track.steps)
    rows, values = [], []

    def add(step: int, A: np.ndarray, value: np.ndarray, covariance: np.ndarray, before: np.ndarray | None = None):
        root = np.linalg.inv(np.linalg.cholesky(covariance + 1e-15 * np.eye(len(covariance))))
        row = np.zeros((len(value), 5 * count))
        row[:, 5 * step : 5 * step + 5] = A
        if before is not None:
            row[:, 5 * step - 5 : 5 * step] = before
        rows.append(root @ row)
        values.append(root @ value)

    first = track.steps[0]
    add(0, np.eye(5), first.mean, first.covariance)
    for number, step in enumerate(track.steps[1:], start=1):
        before = track.steps[number - 1]
        noise = step.predicted_covariance - step.transition @ before.covariance @ step.transition.T
        add(number, np.eye(5), np.zeros(5), noise + 1e-9 * np.eye(5), -step.transition)
        if step.row >= 0:
            center = found[step.frame].boxes.centers[step.row]
            deviation = settings.position_m + settings.position_per_m * np.linalg.norm(center)
            deviation *= 1.0 + 2.0 * (1.0 - float(found[step.frame].scores[step.row]))
            add(number, np.eye(3, 5), center, np.eye(3) * deviation**2)
    A, b = np.concatenate(rows), np.concatenate(values)
    solution = np.linalg.solve(A.T @ A, A.T @ b).reshape(count, 5)
    spread = np.linalg.inv(A.T @ A)
    assert means == pytest.approx(solution, abs=1e-3)
    for number in range(count):
        place = slice(5 * number, 5 * number + 5)
        assert covariances[number] == pytest.approx(spread[place, place], rel=1e-2, abs=1e-3)


def test_the_weighted_median_by_hand() -> None:
    values = np.array([[1.0, 9.0], [2.0, 5.0], [10.0, 1.0]])
    assert weighted_median(values, np.array([1.0, 1.0, 1.0])).tolist() == [2.0, 5.0]
    assert weighted_median(values, np.array([1.0, 1.0, 5.0])).tolist() == [10.0, 1.0]


def test_the_axis_of_a_standing_object_goes_with_the_most() -> None:
    yaws = np.array([0.1, -0.1, np.pi + 0.05, 0.0])
    assert np.cos(axis_of(yaws, np.ones(4)) - 0.0) == pytest.approx(1.0, abs=0.01)
    assert np.cos(axis_of(yaws, np.array([0.1, 0.1, 5.0, 0.1])) - np.pi) == pytest.approx(1.0, abs=0.01)


def test_a_moving_object_heads_along_its_way(drive) -> None:
    settings, hits = LabelSettings(), np.arange(5)
    yaws = np.array([0.1, np.pi, 0.0, np.pi - 0.1, 0.05])
    forward = agreed_headings(yaws, np.ones(5), hits, np.tile([3.0, 0.0], (5, 1)), settings)
    backward = agreed_headings(yaws, np.ones(5), hits, np.tile([-3.0, 0.0], (5, 1)), settings)
    assert np.cos(forward) == pytest.approx(np.ones(5), abs=0.02)
    assert np.cos(backward) == pytest.approx(-np.ones(5), abs=0.02)
    # It has stopped at the end: there it heads as before.
    velocities = np.array([[3.0, 0.0]] * 3 + [[0.1, 0.0]] * 2)
    assert np.cos(agreed_headings(yaws, np.ones(5), hits, velocities, settings)) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(("speed", "expected"), [(0.0, True), (0.3, True), (3.0, False)])
def test_what_stands(speed, expected) -> None:
    seconds = np.arange(11) / 10
    means = np.zeros((11, 5))
    means[:, 0] = speed * seconds
    assert stands(means, 1.0, LabelSettings()) == expected
