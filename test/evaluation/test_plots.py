"""Precision-recall pictures."""

from __future__ import annotations

import cv2
import numpy as np

from semlt3d_ros.evaluation import evaluate
from semlt3d_ros.evaluation.plots import save_plots


def test_groups_with_truth_get_a_picture_with_curves(truth, found, tmp_path):
    places = [(10.0, 0.0), (20.0, 0.0)]
    report = evaluate(
        [
            (found([*places, (30.0, 0.0)], [0.9, 0.5, 0.7]), truth(places)),
            (found([]), truth(places, "child")),
        ]
    )
    written = save_plots(report, tmp_path / "plots")
    assert [path.name for path in written] == ["precision_recall_many.png", "precision_recall_few.png"]
    many, few = (cv2.imread(str(path)) for path in written)
    # The last line lies on top: matplotlib's red, here BGR. Without a curve it is only in the legend.
    red = [int((np.abs(picture.astype(int) - (40, 39, 214)).max(axis=2) < 30).sum()) for picture in (many, few)]
    assert red[0] > red[1] + 100
