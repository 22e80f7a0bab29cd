"""mCE and mRR, by hand and by what must hold for any figures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.evaluation.robustness import Robustness
from semlt3d_ros.evaluation.robustness_report import save_plot, table_of

HELD = Robustness(
    {"nds": 0.5, "map": 0.4},
    {
        "fog": [{"nds": 0.4, "map": 0.4}, {"nds": 0.3, "map": 0.2}, {"nds": 0.2, "map": 0.0}],
        "snow": [{"nds": 0.5, "map": 0.4}, {"nds": 0.5, "map": 0.4}, {"nds": 0.5, "map": 0.4}],
    },
)
BASELINE = Robustness(
    {"nds": 0.4, "map": 0.3},
    {"fog": [{"nds": 0.2, "map": 0.1}, {"nds": 0.1, "map": 0.1}, {"nds": 0.0, "map": 0.1}]},
)


def test_rates_by_hand() -> None:
    assert HELD.resilience("fog") == pytest.approx((0.4 + 0.3 + 0.2) / (3 * 0.5))
    assert HELD.resilience("fog", "map") == pytest.approx((0.4 + 0.2) / (3 * 0.4))
    assert HELD.mean_resilience() == pytest.approx((0.6 + 1.0) / 2)
    assert HELD.mean_resilience(["fog"]) == pytest.approx(0.6)


def test_errors_by_hand() -> None:
    assert HELD.error("fog", BASELINE) == pytest.approx((0.6 + 0.7 + 0.8) / (0.8 + 0.9 + 1.0))
    assert HELD.error("snow", BASELINE) is None and HELD.mean_error(BASELINE) == HELD.error("fog", BASELINE)
    assert HELD.mean_error(HELD) == pytest.approx(1.0)


def test_without_objects_or_detections_nothing_is_claimed() -> None:
    nothing = Robustness({"nds": None, "map": None}, {"fog": [{"nds": None, "map": None}]})
    blind = Robustness({"nds": 0.0, "map": 0.0}, {"fog": [{"nds": 0.0, "map": 0.0}]})
    for each in (nothing, blind):
        assert each.resilience("fog") is None and each.mean_resilience() is None
    assert nothing.mean_error(BASELINE) is None


shares = st.floats(0.01, 1.0)


@given(st.lists(shares, min_size=3, max_size=3), shares, st.floats(0.1, 0.9))
def test_what_loses_a_share_everywhere_keeps_the_rest(severities, clean, kept) -> None:
    held = Robustness(
        {"nds": clean, "map": clean}, {"fog": [{"nds": clean * kept, "map": value * clean} for value in severities]}
    )
    assert held.resilience("fog") == pytest.approx(kept)
    assert held.resilience("fog", "map") == pytest.approx(sum(severities) / 3)
    assert Robustness.from_json(json.loads(json.dumps(held.to_json()))) == held


def test_the_table_and_the_picture_have_every_corruption(tmp_path) -> None:
    table = table_of(HELD, BASELINE, "a model on a drive")
    assert list(table.columns[0].cells) == ["fog", "snow", "mean"]
    assert list(table.columns[-1].cells)[1] == "-" and "NDS 0.500" in str(table.caption)
    save_plot(HELD, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").stat().st_size > 10_000
