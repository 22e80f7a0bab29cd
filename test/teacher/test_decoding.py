"""From maps to boxes: by hand, and suppression against a plain loop."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.teacher.decoding import TaskBoxes, best_cells, cell_boxes, circle_suppressed

FLAT = {"offset": 2, "height": 1, "size": 3, "heading": 2, "velocity": 2}


@pytest.fixture
def config(make_config):
    """Maps of 8 x 16 cells of 1 m: rows along y from -4 on, columns along x from -8 on."""
    return make_config(pillar_m=0.5, point_range=(-8.0, -4.0, -3.0, 8.0, 4.0, 5.0), score=0.2, detections=3)


@pytest.fixture
def maps():
    """Nothing anywhere, but for one box at row 2, column 5."""
    found = {name: torch.zeros(1, width, 8, 16) for name, width in FLAT.items()} | {
        "heat": torch.full((1, 2, 8, 16), -9.0)
    }
    found["heat"][0, 1, 2, 5] = 1.0
    for name, values in {
        "offset": [0.25, 0.5], "height": [0.8], "size": [math.log(4.5), math.log(1.9), math.log(1.6)],
        "heading": [0.6, 0.8], "velocity": [3.0, -1.0],
    }.items():  # fmt: skip
        found[name][0, :, 2, 5] = torch.tensor(values)
    return found


def boxes_at(*places: tuple[float, float]) -> TaskBoxes:
    """Boxes at places, the best first."""
    boxes = torch.zeros(len(places), 9)
    boxes[:, :2] = torch.tensor(places).reshape(-1, 2)
    numbers = torch.arange(len(places))
    return TaskBoxes(boxes, 1 - numbers / 1000, numbers, numbers)


def test_a_box_by_hand(config, maps) -> None:
    box = cell_boxes(maps, config)[0, :, 2, 5]
    # Column 5 begins at x -3, row 2 at y -2.
    assert box.tolist() == pytest.approx([-2.75, -1.5, 0.8, 4.5, 1.9, 1.6, math.atan2(0.6, 0.8), 3.0, -1.0])
    (found,) = best_cells(maps, config)
    assert torch.equal(found.boxes[0], box) and len(found.scores) == 1
    assert found.labels.tolist() == [1] and found.cells.tolist() == [2 * 16 + 5]
    assert found.scores.item() == pytest.approx(1 / (1 + math.exp(-1)))


def test_orders_of_published_heads(config, maps, make_config) -> None:
    plain = cell_boxes(maps, config)[0, :, 2, 5]
    turned = {**maps, "heading": maps["heading"].flip(1)}
    given = {"pillar_m": 0.5, "point_range": config.point_range}
    assert torch.equal(cell_boxes(turned, make_config(heading="cos_sin", **given))[0, :, 2, 5], plain)
    # det3d gives width, length, height, and the heading clockwise from the y axis.
    yaw = math.atan2(0.6, 0.8)
    det3d = {**maps, "size": maps["size"][:, [1, 0, 2]]}
    det3d["heading"] = torch.tensor([math.sin(-yaw - math.pi / 2), math.cos(-yaw - math.pi / 2)])[None, :, None, None]
    det3d["heading"] = det3d["heading"].expand(1, 2, 8, 16)
    found = cell_boxes(det3d, make_config(size_order="wlh", **given))[0, :, 2, 5]
    assert found[:6].tolist() == pytest.approx(plain[:6].tolist())
    assert math.cos(found[6].item() - yaw) == pytest.approx(1.0)


def test_without_velocities_they_are_unknown(config, maps) -> None:
    del maps["velocity"]
    (found,) = best_cells(maps, config)
    assert found.boxes[0, 7:].isnan().all() and found.boxes[0, :7].isfinite().all()


def test_half_precision_gives_boxes_in_full(config, maps) -> None:
    (found,) = best_cells({name: values.bfloat16() for name, values in maps.items()}, config)
    assert found.boxes.dtype == torch.float32 and found.scores.dtype == torch.float32
    # Of the place in the map nothing is lost.
    assert found.boxes[0, :2].tolist() == pytest.approx([-2.75, -1.5])


def test_the_best_are_found_in_their_order_above_the_score_and_within_the_range(config, maps) -> None:
    heat = maps["heat"]
    heat[0, 0, 7, 15], heat[0, 0, 0, 0], heat[0, 1, 4, 4] = 3.0, 2.0, -1.0
    heat[0, 0, 2, 5] = 0.5  # two classes at one cell are two detections
    (found,) = best_cells(maps, config)
    assert found.cells.tolist() == [7 * 16 + 15, 0, 2 * 16 + 5] and found.labels.tolist() == [0, 0, 1]
    assert (found.scores.diff() < 0).all()
    maps["height"][0, 0, 0, 0] = 10.1  # above all that counts
    maps["size"][0, 0, 7, 15] = 100.0  # beyond all numbers
    (found,) = best_cells(maps, config)
    assert found.cells.tolist() == [2 * 16 + 5]


def test_more_detections_than_cells(maps, make_config) -> None:
    config = make_config(
        pillar_m=0.5, point_range=(-8.0, -4.0, -3.0, 8.0, 4.0, 5.0), score=0.0, detections=10_000
    )  # fmt: skip
    assert len(best_cells(maps, config)[0].scores) == 2 * 8 * 16


def test_maps_of_nonsense_give_no_boxes(config, maps) -> None:
    for value in (torch.nan, torch.inf):
        broken = {name: torch.full_like(values, value) for name, values in maps.items()}
        assert len(best_cells(broken, config)[0].scores) == 0


def test_clouds_are_decoded_one_by_one(config, maps) -> None:
    empty = {name: torch.zeros_like(values) if name != "heat" else values - 99 for name, values in maps.items()}
    both = {name: torch.cat([empty[name], maps[name]]) for name in maps}
    none, one = best_cells(both, config)
    assert len(none.scores) == 0 and torch.equal(one.boxes, best_cells(maps, config)[0].boxes)


def test_circles_are_compared_with_squared_distances() -> None:
    found = boxes_at((0.0, 0.0), (1.9, 0.0), (2.1, 0.0), (0.0, 2.0), (4.0, 0.0))
    # Within 2 m of the first: the second, and the fourth to the last bit. The third then suppresses the last.
    assert circle_suppressed(found, 4.0).labels.tolist() == [0, 2]
    assert circle_suppressed(found, 0.03).labels.tolist() == [0, 1, 2, 3, 4]
    assert circle_suppressed(found, 0.05).labels.tolist() == [0, 1, 3, 4]


def test_what_is_suppressed_suppresses_nothing() -> None:
    assert circle_suppressed(boxes_at((0.0, 0.0), (1.0, 0.0), (2.0, 0.0)), 1.5).labels.tolist() == [0, 2]


def test_nothing_to_suppress() -> None:
    assert len(circle_suppressed(boxes_at(), 4.0).scores) == 0


@given(
    st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), max_size=40),
    st.sampled_from([0.0, 0.9, 1.0, 4.5, 12.0]),
)
def test_suppression_is_that_of_a_plain_loop(places, squared) -> None:
    kept: list[int] = []
    for number, place in enumerate(places):
        if all(np.square(np.subtract(place, places[other])).sum() > squared for other in kept):
            kept.append(number)
    assert circle_suppressed(boxes_at(*places), squared).labels.tolist() == kept
