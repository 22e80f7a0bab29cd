"""What a round learns from and what judges it: decided by names, once and for all, and never nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.adaptation.plan import Plan, Result, is_held_back, next_plan
from semlt3d_ros.adaptation.settings import LoopSettings
from semlt3d_ros.core.config import parse

SETTINGS = {
    "events": "e",
    "models": "m",
    "work": "w",
    "recipe": "r.yaml",
    "regression": [{"first_seed": 1, "drives": 1}],
}
NAMES = st.lists(st.text("abcdef0123456789", min_size=4, max_size=8), min_size=2, max_size=12, unique=True)
SHARES = st.floats(0.05, 0.95)
SHARES_IN_TURN = [share / 1000 for share in range(1, 1001)]


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> LoopSettings:
    folder: Path = tmp_path_factory.mktemp("plan")
    (folder / "r.yaml").write_text("name: none\n")
    return replace(parse(LoopSettings, SETTINGS, "settings"), recipe=folder / "r.yaml", least_new=1)


@given(NAMES, SHARES)
def test_two_events_are_enough_for_a_round(settings: LoopSettings, names: list[str], share: float) -> None:
    plan = next_plan(replace(settings, held_back=share), "model@1", names, [])
    assert isinstance(plan, Plan)
    assert plan.learnt and plan.held_back and sorted(plan.names) == sorted(names)
    drawn = [name for name in names if is_held_back(name, share)]
    enough = min(settings.gate.least_drives, len(names) // 2)
    if enough <= len(drawn) < len(names):
        assert list(plan.held_back) == drawn, "names alone decide where they can"
    elif len(drawn) < enough:
        assert len(plan.held_back) == enough and set(drawn) < set(plan.held_back), "the gate is given what it asks for"


def test_lots_that_fall_short_are_made_up_for_by_the_next(settings: LoopSettings) -> None:
    names = [f"event_{number:02d}" for number in range(20)]
    by_lot = sorted(names, key=lambda name: min(share for share in SHARES_IN_TURN if is_held_back(name, share)))
    for share in (0.05, 0.2, 0.9):
        plan = next_plan(replace(settings, held_back=share), "model@1", names, [])
        assert isinstance(plan, Plan)
        drawn = sum(is_held_back(name, share) for name in names)
        assert set(plan.held_back) == set(by_lot[: max(drawn, 8)])


@given(NAMES, NAMES, SHARES, SHARES)
def test_what_was_learnt_from_never_judges(
    settings: LoopSettings, first: list[str], more: list[str], share: float, later: float
) -> None:
    before = next_plan(replace(settings, held_back=share), "model@1", first, [])
    assert isinstance(before, Plan)
    names = [*first, *(name for name in more if name not in first)]
    after = next_plan(replace(settings, held_back=later), "model@1", names, [(before, Result("rejected", ""))])
    if len(names) == len(first):
        assert isinstance(after, str) and after.startswith("0 new events")
        return
    assert isinstance(after, Plan) and after.number == 2
    assert not set(before.learnt) & set(after.held_back) and not set(before.held_back) & set(after.learnt)
    assert sorted(after.names) == sorted(names)


def test_a_single_event_waits_for_another(settings: LoopSettings) -> None:
    assert "waiting for more" in str(next_plan(settings, "model@1", ["alone"], []))
