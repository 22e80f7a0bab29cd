"""The page of the loop: what is read of a work folder, and that it becomes a recording."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.viewing.loop import read_rounds, status_page


@pytest.fixture
def work(tmp_path) -> Path:
    """A loop with a round that was judged and one that goes on, whose log is cut off."""
    first, second = (tmp_path / "work" / "rounds" / name for name in ("0001", "0002"))
    for folder in (first, second):
        (folder / "candidate.training").mkdir(parents=True)
    (first / "verdict").mkdir()
    (first / "verdict" / "verdict.md").write_text("# new@1: promoted\n")
    cv2.imwrite(str(first / "verdict" / "held_back_gain_1.jpg"), np.full((20, 30, 3), 90, np.uint8))
    (first / "result.json").write_text(json.dumps({"outcome": "promoted", "message": "better beyond chance"}))
    lines = [json.dumps({"step": step, "losses": {"total": 1.0 / step}}) for step in (1, 2)]
    (second / "candidate.training" / "log.jsonl").write_text("\n".join([*lines, '{"step": 3, "los']))
    status = {"state": "training", "message": "learning", "round": 2, "training_step": 2, "training_steps": 9}
    figures = {"running_held_back": 0.25, "candidate_held_back": 0.5}
    (tmp_path / "work" / "status.json").write_text(json.dumps(status | figures))
    return tmp_path / "work"


def test_rounds_are_read_as_far_as_they_have_come(work) -> None:
    first, second = read_rounds(work)
    assert first.page == "# new@1: promoted\n" and [path.name for path in first.pictures] == ["held_back_gain_1.jpg"]
    assert second.curve == [(1, {"total": 1.0}), (2, {"total": 0.5})] and second.page == "" and second.result == {}
    page = status_page(work)
    assert "| state | training |" in page and "| training steps | 2 / 9 |" in page
    assert "| mAP held-back, before and after | 0.2500 / 0.5000 |" in page
    assert "* 0001: promoted. better beyond chance" in page and "* 0002: goes on." in page


def test_the_page_becomes_a_recording(work, tmp_path) -> None:
    pytest.importorskip("rerun")
    assert main(["view", "--loop", str(work), "--save", str(tmp_path / "loop.rrd")]) == 0
    content = (tmp_path / "loop.rrd").read_bytes()
    for name in (b"/status", b"/curves/0002/total", b"/rounds/0001/verdict", b"/rounds/0001/held_back_gain_1"):
        assert name in content


def test_a_folder_of_something_else_is_refused(tmp_path) -> None:
    with pytest.raises(ConfigurationError, match="no work folder of a loop"):
        status_page(tmp_path)
    assert main(["view", "bag.mcap", "--loop", str(tmp_path)]) == 2
    assert main(["view", "--beside", str(tmp_path)]) == 2
