"""What the loop's command prints of a comparison, and where it lets the robot drive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.loop import table
from bench.loop.robot import Robot
from semlt3d_ros.adaptation.models import ModelStore
from semlt3d_ros.adaptation.verdict import Comparison, Verdict
from semlt3d_ros.evaluation.bootstrap import Change


def result() -> dict[str, Any]:
    def side(gain: float) -> Comparison:
        found = Change("all", 100, 10, 0.2, 0.2 + gain, gain - 0.02, gain + 0.02)
        car = Change("car", 60, 9, 0.4, 0.4 + gain)
        return Comparison(30, 10, "drives", (found, Change("few", 0)), (car, Change("bus", 3, 2, 0.1, 0.1)))

    verdict = Verdict(True, "b@2", "a@1", ("better",), held_back=side(0.1), regression=side(-0.005))
    # As it comes back from summary.json.
    comparison = json.loads(json.dumps(verdict.to_json()))
    told = {"state": "promoted", "message": "b@2 promoted"}
    return {"place": "a new city", "events": 28, "round": told, "comparison": comparison}


def test_before_and_after_by_group_there_and_at_home(tmp_path: Path, capsys: Any) -> None:
    rows = table.rows_of(result())
    where, names = zip(*(row[:2] for row in rows), strict=True)
    assert names == ("all", "car") * 2 and where == ("a new city",) * 2 + ("the city that it knew",) * 2
    assert rows[0][4] == "+10.0 (+8.0 to +12.0)" and rows[2][4] == "-0.5 (-2.5 to +1.5)"
    table.show({"places": [result()], "seconds": {"learn": 90.0}}, tmp_path, as_json=False)
    shown = capsys.readouterr().out
    assert "1.50" in shown and "28 events, promoted: b@2 promoted" in shown and "1.5 minutes in all" in shown
    assert (tmp_path / table.PICTURE).stat().st_size > 5000


def test_a_robot_begins_with_the_shipped_student_and_keeps_what_it_has(tmp_path: Path) -> None:
    robot = Robot(tmp_path / "robot", tmp_path / "data")
    robot.prepare()
    version = ModelStore(robot.models).current()
    robot.prepare()
    assert version is not None and ModelStore(robot.models).current() == version
    assert robot.recall("recorded") is None
    robot.remember("recorded", 28)
    assert robot.recall("recorded") == 28
