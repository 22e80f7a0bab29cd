"""Tracks looked at backward too: where an object was, given all that was seen of it before and after."""

from __future__ import annotations

import numpy as np

from semlt3d_ros.labelling.tracking import Floats, Track


def smoothed(track: Track) -> tuple[Floats, Floats]:
    """Means (T, 5) of x y z vx vy and covariances (T, 5, 5), by the smoother of Rauch, Tung and Striebel (1965)."""
    steps = track.steps
    means, covariances = [steps[-1].mean], [steps[-1].covariance]
    for step, after in zip(reversed(steps[:-1]), reversed(steps[1:]), strict=True):
        gain = step.covariance @ after.transition.T @ np.linalg.pinv(after.predicted_covariance)
        means.append(step.mean + gain @ (means[-1] - after.predicted))
        covariances.append(step.covariance + gain @ (covariances[-1] - after.predicted_covariance) @ gain.T)
    return np.array(means[::-1]), np.array(covariances[::-1])
