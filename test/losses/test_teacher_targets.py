"""What a teacher's maps should be, by hand and against plain geometry."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.bev_grid import BevGrid
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.teacher_targets import center_targets, gaussian_radius, judged_cells
from semlt3d_ros.losses.unjudged import Unjudged

sides = st.floats(0.1, 60.0)


def boxes_of(*rows: list[float], classes: tuple[int, ...]) -> Targets:
    return Targets(torch.tensor([rows]), torch.tensor([classes]), [])


def test_every_task_has_its_own_objects_at_their_cells(config, targets) -> None:
    vehicles, people = center_targets(targets, config, config.grid)
    assert vehicles.heat.shape == (2, 2, 16, 16) and people.heat.shape == (2, 1, 16, 16)
    # x 2.25 lies a quarter into the column that begins at 2, the tenth after -8.
    assert vehicles.cloud.tolist() == [0, 1] and vehicles.label.tolist() == [0, 1]
    assert vehicles.column.tolist() == [10, 8] and vehicles.row.tolist() == [4, 8]
    assert people.cloud.tolist() == [0] and (people.row.item(), people.column.item()) == (14, 2)
    car = [0.25, 0.5, 0.5, math.log(4), math.log(2), math.log(1.5), 0.5, math.sqrt(0.75), 3.0, -1.0]
    assert vehicles.values[0].tolist() == pytest.approx(car)
    assert vehicles.values[1, 6:].tolist() == pytest.approx([-1.0, 0.0, 0.0, 0.0], abs=1e-6)
    assert people.values[0, :8].isfinite().all() and people.values[0, 8:].isnan().all()


def test_heat_falls_off_to_nothing_at_the_radius(config, targets) -> None:
    vehicles, people = center_targets(targets, config, config.grid)
    # Both are small: a radius of two cells, and a spread of five sixths of one.
    near, far = math.exp(-1 / (2 * (5 / 6) ** 2)), math.exp(-4 / (2 * (5 / 6) ** 2))
    column = torch.tensor([far, near, 1.0, near, far])
    assert people.heat[0, 0, 12:, 0:5] == pytest.approx(column[:4, None] * column[None], abs=1e-6)
    assert people.heat.sum().item() == pytest.approx((column[:4].sum() * column.sum()).item(), rel=1e-5)
    assert vehicles.heat[0, 1].sum() == 0 and vehicles.heat[1, 0].sum() == 0 and people.heat[1].sum() == 0
    assert vehicles.heat[0, 0, 4, 10] == 1 and vehicles.heat[1, 1, 8, 8] == 1


def test_where_two_of_a_class_meet_the_nearer_one_counts(config) -> None:
    one, other = [0.5, 0.5, 0, 1, 1, 1, 0, 0, 0], [2.5, 0.5, 0, 1, 1, 1, 0, 0, 0]
    both = center_targets(boxes_of(one, other, classes=(0, 0)), config, config.grid)[0].heat
    each = [center_targets(boxes_of(row, classes=(0,)), config, config.grid)[0].heat for row in (one, other)]
    assert torch.equal(both, torch.maximum(*each)) and both.max() == 1


@pytest.mark.parametrize("wrong", [(8.0, 0.0), (-8.01, 0.0), (0.0, 30.0), (math.nan, 0.0), (0.0, math.inf)])
def test_objects_beside_the_maps_are_left_out(config, wrong) -> None:
    far = [*wrong, 0, 4, 2, 1.5, 0, 0, 0]
    found = center_targets(boxes_of(far, classes=(0,)), config, config.grid)[0]
    assert len(found.values) == 0 and found.heat.sum() == 0


def test_a_window_has_the_cells_of_its_own(config, targets) -> None:
    window = BevGrid(0.0, -8.0, 1.0, 8, 8)
    whole, part = (center_targets(targets, config, grid) for grid in (config.grid, window))
    assert part[0].cloud.tolist() == [0] and len(part[1].cloud) == 0
    assert part[0].row.item() == whole[0].row[0] and part[0].column.item() == whole[0].column[0] - 8
    assert torch.equal(part[0].values[0], whole[0].values[0])
    assert torch.equal(part[0].heat[0], whole[0].heat[0, :, :8, 8:])


def test_no_objects(config, nothing) -> None:
    for found, count in zip(center_targets(nothing, config, config.grid), (2, 1), strict=True):
        assert found.heat.shape == (2, count, 16, 16) and found.heat.sum() == 0 and found.values.shape == (0, 10)


def test_sizes_that_are_none_give_no_numbers_that_are_none(config) -> None:
    flat = [0.5, 0.5, 0, 0, -1, 1e-9, 0, 0, 0]
    found = center_targets(boxes_of(flat, classes=(0,)), config, config.grid)[0]
    assert found.values.isfinite().all() and found.heat.isfinite().all() and found.heat[0, 0, 8, 8] == 1


@given(sides, sides, st.floats(0.05, 0.9))
def test_within_the_radius_boxes_still_overlap(length, width, overlap) -> None:
    r = gaussian_radius(torch.tensor([length], dtype=torch.float64), torch.tensor([width]).double(), overlap).item()
    assert r >= 0
    area = length * width

    def together(r: float) -> float:
        meet = max(length - r, 0) * max(width - r, 0)
        return meet / (2 * area - meet)

    cases = (
        together,
        lambda r: max(length - 2 * r, 0) * max(width - 2 * r, 0) / area,
        lambda r: area / ((length + 2 * r) * (width + 2 * r)),
    )
    assert min(case(r) for case in cases) == pytest.approx(overlap, abs=1e-6)


def test_cells_without_labels_are_not_judged(config, targets) -> None:
    assert judged_cells(targets, config.grid) is None
    gone = targets.without(torch.tensor([[True, False], [False, False]]))
    judged = judged_cells(gone, config.grid)
    assert judged is not None and judged.shape == (2, 16, 16) and judged[1].all()
    assert not judged[0, 4, 10] and judged[0, 14, 2]
    # The car and what lies 2 m around its middle, or half a metre beside it.
    assert 12 <= (~judged[0]).sum() <= 25
    nowhere = Unjudged.objects(torch.zeros(2, 0, 9), torch.zeros(2, 0, dtype=torch.bool))
    nowhere.range_m[1] = -1.0
    silent = judged_cells(Targets(targets.boxes, targets.classes, [], unjudged=nowhere), config.grid)
    assert silent[0].all() and not silent[1].any()
