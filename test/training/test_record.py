"""What a run leaves behind: lines of JSON, pictures, TensorBoard's file, and a line where that is not installed."""

import json
import sys

import cv2
import numpy as np
import pytest

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.evaluation.evaluator import evaluate
from semlt3d_ros.evaluation.settings import EvaluationSettings
from semlt3d_ros.training.record import Record
from semlt3d_ros.training.run import train
from semlt3d_ros.training.tensorboard import Board


def test_figures_and_pictures_are_in_log_and_board_alike(tmp_path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    board = Board(tmp_path)
    record = Record(tmp_path, board)
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, :30] = (250, 120, 10)
    record.losses(50, {"boxes": 3.5, "total": 9.0}, 1e-3)
    record.losses(100, {"boxes": 2.5, "total": 8.0}, 5e-4)
    record.evaluation(100, {"boxes": 2.5, "total": 8.0}, 5e-4, evaluate([], EvaluationSettings()))
    record.pictures(100, [("drive_0", picture)])
    board.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["rate"], line["losses"]["boxes"]) for line in lines[:2]] == [
        (50, 1e-3, 3.5),
        (100, 5e-4, 2.5),
    ]
    assert set(lines[2]) >= {"map", "groups", "ap"}
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss/boxes")] == [(50, 3.5), (100, 2.5)]
    assert [event.value for event in events.Scalars("rate")] == pytest.approx([1e-3, 5e-4])
    assert {"drive_0"} == set(events.Tags()["images"])
    shown = cv2.imdecode(np.frombuffer(events.Images("drive_0")[0].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    for found in (shown, cv2.imread(str(tmp_path / "pictures" / "0000100" / "drive_0.png"))):
        assert np.array_equal(found[..., ::-1], picture)


def test_without_tensorboard_a_run_says_so_in_a_line_and_goes_on(recipe_path, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(ConfigurationError, match=r"pip install semlt3d_ros\[training\]"):
        Board(tmp_path)
    out = tmp_path / "plain.safetensors"
    train(recipe_path, out, progress=True)
    told = capsys.readouterr().err
    assert told.count("TensorBoard is not there") == 1 and "semlt3d_ros[training]" in told
    folder = out.with_suffix(".training")
    assert (folder / "log.jsonl").exists() and list(folder.glob("pictures/*/*.png"))
    assert not list(folder.glob("events*"))
