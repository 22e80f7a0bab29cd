"""Published modules, re-implemented, give what the originals gave."""

from pathlib import Path

import pytest
import torch

from bench.parity.__main__ import compared
from bench.parity.fixtures import FOLDER, Fixture, fixtures, largest_difference, sha256, weight

RULES = [
    {"match": "x$", "value": "u", "dim": 2},
    {"match": "bias$", "value": "0.05 * z"},
    {"match": ".", "value": "z / fan_in ** 0.5"},
]


def test_the_rule_makes_the_weights_that_are_published_with_the_fixtures():
    """Three of them, so that the rule is held to them where the fixtures are not at hand."""
    assert sha256(weight("lateral_convs.0.conv.weight", (256, 768, 1, 1), RULES)) == "a5b7378eeef8ba31"
    assert sha256(weight("cls_branches.0.0.bias", (256,), RULES)) == "f26f2d172a306d89"
    assert sha256(weight("position_encoder.0.weight", (1024, 192), RULES)) == "0551eacd6e226237"


def test_rules_count_dimensions():
    assert weight("x", (2, 3), RULES).min() >= 0
    assert weight("x", (200,), RULES).min() < 0


def test_shapes_and_nan_are_differences():
    assert largest_difference(torch.zeros(3), [0.0, 0.0, 0.0]) == 0
    assert largest_difference(torch.zeros(2), [0.0, 0.0, 0.0]) == float("inf")
    nan = Fixture(Path("x.json")).compare("a", torch.tensor([float("nan")]), [0.0], 1.0)
    assert not nan.holds


needs_fixtures = pytest.mark.skipif(not fixtures(), reason=f"no fixtures of published modules in {FOLDER}")


@needs_fixtures
@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.name)
def test_the_rule_makes_every_weight_to_the_bit(fixture):
    assert fixture.hashes_that_differ() == []


@needs_fixtures
@pytest.mark.parametrize("fixture", fixtures(), ids=lambda fixture: fixture.name)
def test_every_output_is_within_its_tolerance(fixture):
    rows = compared(fixture)
    if rows is None:
        pytest.skip("nothing here computes it")
    assert [row for row in rows if not row.holds] == []
    outputs = {name for name in fixture.arrays if not name.startswith("input.")}
    assert outputs == {row.output for row in rows}
