"""The teacher network: pillars against a plain computation of them, and what must not change its maps."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from semlt3d_ros.teacher.config import TeacherConfig
from semlt3d_ros.teacher.pillars import PillarEncoder, sort_into_pillars
from semlt3d_ros.teacher.teacher import TeacherOutput

seeds = st.integers(0, 10_000)


def maps_of(output: TeacherOutput, cloud: int = 0) -> list[Tensor]:
    """All maps of one cloud."""
    return [output.bev[cloud], *(values[cloud] for task in output.tasks for values in task.values())]


def largest(one: list[Tensor], other: list[Tensor]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def plain_canvas(encoder: PillarEncoder, cloud: Tensor, config: TeacherConfig) -> Tensor:
    """The canvas of one cloud as the papers tell it, one pillar after the other, in tables with rows of padding."""
    columns, rows = config.canvas
    x0, y0, z0, x1, y1, z1 = config.point_range
    side = config.pillar_m
    inside = (cloud[:, 0] >= x0) & (cloud[:, 1] >= y0) & (cloud[:, 2] >= z0)
    cloud = cloud[inside & (cloud[:, 0] < x1) & (cloud[:, 1] < y1) & (cloud[:, 2] < z1)]
    canvas = torch.zeros(config.pillar_layers[-1], rows, columns)
    column, row = ((cloud[:, 0] - x0) / side).floor(), ((cloud[:, 1] - y0) / side).floor()
    for place in set(zip(row.tolist(), column.tolist(), strict=True)):
        points = cloud[(row == place[0]) & (column == place[1])]
        points = points[: config.max_points] if config.max_points else points
        middle = torch.tensor([x0 + (place[1] + 0.5) * side, y0 + (place[0] + 0.5) * side, (z0 + z1) / 2])
        told = {"intensity_lag": [3, 4], "intensity": [3], "lag": [4], "none": []}[config.point_features]
        xyz, features = points[:, :3], points[:, told].clone()
        if "intensity" in config.point_features:
            features[:, 0] *= config.intensity_scale
        to_middle = xyz - middle
        table = torch.cat(
            [xyz, features, xyz - xyz.mean(0), to_middle if config.center_z else to_middle[:, :2]], 1
        )  # fmt: skip
        if config.max_points:
            table = torch.cat([table, torch.zeros(config.max_points - len(table), table.shape[1])])
        for layer in encoder.layers:
            table = layer.norm(layer.linear(table)).relu()
            most = table.amax(0)
            table = torch.cat([table, most.expand_as(table)], 1)
        canvas[:, int(place[0]), int(place[1])] = most
    return canvas


@pytest.mark.parametrize("max_points", [0, 4])
@pytest.mark.parametrize("layers", [(6,), (8, 6)])
@pytest.mark.parametrize(
    ("told", "middle_z"), [("intensity_lag", True), ("lag", False), ("intensity", True), ("none", False)]
)
def test_pillars_are_those_of_a_plain_computation(make_teacher, make_cloud, max_points, layers, told, middle_z) -> None:
    teacher = make_teacher(
        pillar_layers=layers, max_points=max_points, point_features=told, center_z=middle_z, intensity_scale=5.0,
        point_range=(-1.6, -0.96, -1.0, 0.96, 1.6, 1.0),
    )  # fmt: skip
    cloud = make_cloud(600, reach_m=1.8)
    with torch.inference_mode():
        canvas, pillars, _ = teacher.pillars([cloud], teacher.config)
        wanted = plain_canvas(teacher.pillars, cloud, teacher.config)
    assert wanted.any(0).sum() > 30 and (not max_points or pillars.counts.max() == max_points)
    assert torch.allclose(canvas[0], wanted, atol=1e-4)


@given(seed=seeds, count=st.integers(1, 400))
@settings(max_examples=10)
def test_the_order_of_points_changes_nothing(teacher, make_cloud, seed, count) -> None:
    cloud = make_cloud(count, seed)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    with torch.inference_mode():
        plain, mixed = teacher([cloud]), teacher([cloud[order]])
    assert largest(maps_of(plain), maps_of(mixed)) < 1e-4
    places = {place: number for number, place in enumerate(plain.pillars.kept.tolist())}
    back = [places[place] for place in order[mixed.pillars.kept].tolist()]
    assert torch.allclose(mixed.point_logits, plain.point_logits[back], atol=1e-4)


@given(counts=st.lists(st.integers(0, 60), min_size=2, max_size=4), seed=seeds, most=st.sampled_from([0, 3]))
@settings(max_examples=10)
def test_clouds_of_a_batch_do_not_see_each_other(make_teacher, make_cloud, counts, seed, most) -> None:
    teacher = make_teacher(max_points=most)
    clouds = [make_cloud(count, seed + number, 4.0) for number, count in enumerate(counts)]
    clouds.append(make_cloud(0))
    with torch.inference_mode():
        together = teacher(clouds)
        for number, cloud in enumerate(clouds):
            alone = teacher([cloud])
            assert largest(maps_of(together, number), maps_of(alone)) < 1e-4
            assert torch.equal(together.occupied[number], alone.occupied[0])
            mine = together.pillars.cloud == number
            assert torch.allclose(together.point_logits[mine], alone.point_logits, atol=1e-4)


@given(values=st.lists(st.tuples(*[st.floats(width=32)] * 5), max_size=30), most=st.sampled_from([0, 2]))
def test_only_points_that_are_somewhere_are_kept(make_config, values, most) -> None:
    """Of any numbers whatever: NaN, infinite, the largest that there are."""
    config = make_config(max_points=most)
    cloud = torch.tensor(values, dtype=torch.float32).reshape(-1, 5)
    pillars = sort_into_pillars([cloud], config)
    low, high = torch.tensor(config.point_range[:3]), torch.tensor(config.point_range[3:])
    somewhere = cloud.isfinite().all(1) & (cloud[:, :3] >= low).all(1) & (cloud[:, :3] < high).all(1)
    # What is a rounding away from the upper border may count as beyond.
    surely = somewhere & (cloud[:, :3] < high - 1e-4).all(1)
    kept = torch.zeros(len(cloud), dtype=torch.bool)
    kept[pillars.kept] = True
    assert (somewhere | ~kept).all() and (most or (kept | ~surely).all())
    assert torch.equal(pillars.points, cloud[pillars.kept])
    columns, rows = config.canvas
    assert ((pillars.cells >= 0) & (pillars.cells < columns * rows)).all()
    assert torch.equal(pillars.pillar.bincount(minlength=len(pillars.cells)), pillars.counts)


def test_points_that_are_nowhere_change_nothing(teacher, make_cloud) -> None:
    cloud = make_cloud(200)
    wrong = make_cloud(60, 1)
    for number, value in enumerate((torch.nan, torch.inf, -torch.inf, 1e30)):
        wrong[number::4, number % 3] = value
    wrong[50:, 3], wrong[50:, 4] = torch.nan, torch.inf
    with torch.inference_mode():
        plain, more = teacher([cloud]), teacher([torch.cat([wrong, cloud])])
    assert largest(maps_of(plain), maps_of(more)) == 0
    assert torch.equal(more.pillars.kept, plain.pillars.kept + 60)


def test_points_lie_in_the_pillar_that_begins_with_them(make_config) -> None:
    """On the lower border they are inside, on the upper one outside."""
    config = make_config(pillar_m=0.5, point_range=(-8.0, -8.0, -3.0, 8.0, 8.0, 5.0))
    places = [(-8.0, -8.0, -3.0), (7.75, -7.5, 4.9), (8.0, 0.0, 0.0), (0.0, 8.0, 0.0), (0.0, 0.0, 5.0), (0.5, 0.0, 0.0)]
    pillars = sort_into_pillars([torch.tensor([[*place, 0.0, 0.0] for place in places])], config)
    assert pillars.kept.tolist() == [0, 1, 5]
    assert pillars.cells.tolist() == [0, 32 + 31, 16 * 32 + 17]


@pytest.mark.parametrize("most", [0, 20])
@pytest.mark.parametrize("count", [0, 1])
def test_clouds_of_hardly_any_point(make_teacher, make_cloud, count, most) -> None:
    teacher = make_teacher(max_points=most)
    clouds = [make_cloud(count, reach_m=1.0), make_cloud(0)]
    for training in (False, True):
        teacher.train(training)
        output = teacher(clouds)
        assert output.occupied.sum() == count and len(output.point_logits) == count
        assert all(values.isfinite().all() for values in maps_of(output))
        sum(values.sum() for values in maps_of(output)).backward()
        assert all(v.grad is None or v.grad.isfinite().all() for v in teacher.parameters())


def test_a_million_points_in_one_pillar_count_as_its_first(make_teacher, make_cloud) -> None:
    teacher = make_teacher(max_points=20)
    cloud = torch.rand(1_000_000, 5, generator=torch.Generator().manual_seed(0)) * 0.3 + 0.005
    with torch.inference_mode():
        output, few = teacher([cloud]), teacher([cloud[:20]])
    assert len(output.pillars.kept) == 20 and output.occupied.sum() == 1
    assert largest(maps_of(output), maps_of(few)) == 0


def test_a_cell_is_occupied_where_one_of_its_pillars_is(teacher) -> None:
    config, grid = teacher.config, teacher.grid
    assert grid.cell_m == pytest.approx(2 * config.pillar_m)
    points = torch.tensor([[0.33, 0.01, 0.0, 0.0, 0.0], [-12.79, 12.79, 1.0, 0.0, 0.0]])
    with torch.inference_mode():
        output = teacher([points])
    assert output.occupied[0].nonzero().tolist() == [[20, 20], [39, 0]]


@given(columns=st.integers(0, 5), rows=st.integers(0, 5), seed=seeds)
@settings(max_examples=10)
def test_a_window_says_what_the_whole_says_there(teacher, make_config, make_cloud, columns, rows, seed) -> None:
    """Away from its border: convolutions see 27 pillars far. No point lies where rounding chooses its pillar."""
    side = teacher.config.pillar_m
    step, wide = 8 * side, 72 * side
    x0, y0 = columns * step - 12.8, rows * step - 12.8
    world = make_cloud(2000, seed, 25.0)
    corners = torch.floor(world[:, :2] / side) * side
    world[:, :2] = corners + (world[:, :2] - corners).clamp(0.01 * side, 0.99 * side)
    whole = make_config(point_range=(-25.6, -25.6, -3.0, 25.6, 25.6, 5.0))
    window = make_config(point_range=(x0, y0, -3.0, x0 + wide, y0 + wide, 5.0))
    with torch.inference_mode():
        all_of_it, part = teacher([world], whole), teacher([world], window)
    column, row = round((x0 + 25.6) / whole.grid.cell_m), round((y0 + 25.6) / whole.grid.cell_m)
    margin, size = 14, 36
    for mine, theirs in zip(maps_of(part), maps_of(all_of_it), strict=True):
        inner = mine[:, margin:-margin, margin:-margin]
        there = theirs[:, row + margin : row + size - margin, column + margin : column + size - margin]
        assert inner.shape[1:] == (8, 8) and torch.allclose(inner, there, atol=1e-4)


def test_what_is_not_told_of_points_does_not_count(make_teacher, make_cloud) -> None:
    cloud = make_cloud(300)
    bare = cloud.clone()
    bare[:, 3:] = 0
    with torch.inference_mode():
        for told, changes in (("none", False), ("intensity", True), ("lag", True), ("intensity_lag", True)):
            teacher = make_teacher(point_features=told)
            assert (largest(maps_of(teacher([cloud])), maps_of(teacher([bare]))) > 1e-3) == changes
        blind = make_teacher(intensity_scale=0.0, point_features="intensity")
        assert largest(maps_of(blind([cloud])), maps_of(blind([bare]))) == 0


def test_a_teacher_is_the_same_wherever_its_range_lies(make_teacher, make_cloud) -> None:
    """Rows lie along y and columns along x: a point moves one map cell with two pillars, along its own axis."""
    teacher = make_teacher(point_range=(-25.6, -12.8, -3.0, 25.6, 12.8, 5.0))
    grid = teacher.grid
    assert (grid.rows, grid.columns) == (40, 80)
    with torch.inference_mode():
        output = teacher([torch.tensor([[20.0, -5.0, 0.0, 0.0, 0.0]])])
    assert output.bev.shape[2:] == (40, 80)
    ((row, column),) = output.occupied[0].nonzero().tolist()
    assert grid.centers()[row, column] == pytest.approx([20.0, -5.0], abs=grid.cell_m / 2)


def test_velocity_and_point_classes_are_there_where_asked_for(make_teacher, make_cloud) -> None:
    teacher = make_teacher(velocity=False, point_classes=())
    with torch.inference_mode():
        output = teacher([make_cloud(50)])
    assert all("velocity" not in maps for maps in output.tasks)
    assert output.point_features is None and output.point_logits is None
