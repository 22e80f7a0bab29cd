"""What a teacher's config refuses, works out, and says to files."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.teacher.config import TeacherConfig


def test_classes_are_told_apart_by_super_class_unless_said() -> None:
    config = TeacherConfig()
    assert [len(task) for task in config.tasks] == [8, 6, 4]
    assert sorted(name for task in config.tasks for name in task) == sorted(CLASS_NAMES)
    assert config.suppression_m2 == (1.0, 1.0, 1.0)
    unknown = TeacherConfig(class_names=("tram", "car"))
    assert sorted(name for task in unknown.tasks for name in task) == ["car", "tram"]


def test_grids_are_those_of_pillars_and_of_maps(make_config) -> None:
    default = TeacherConfig()
    assert default.canvas == (320, 320) and default.stride == 2
    assert default.grid.cell_m == pytest.approx(0.64) and default.grid.columns == default.grid.rows == 160
    published = make_config(point_range=(-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), pillar_m=0.2, up_scales=(0.5, 1.0, 2.0))
    assert published.canvas == (512, 512) and published.stride == 4 and published.grid.cell_m == pytest.approx(0.8)
    wide = make_config(point_range=(0.0, -6.4, -3.0, 25.6, 6.4, 5.0))
    assert wide.canvas == (80, 40) and (wide.grid.columns, wide.grid.rows) == (40, 20)


@given(
    velocity=st.booleans(),
    told=st.sampled_from(["intensity_lag", "intensity", "lag", "none"]),
    layers=st.lists(st.integers(1, 32).map(lambda half: 2 * half), min_size=1, max_size=3),
    score=st.floats(0, 1),
    names=st.lists(st.sampled_from(CLASS_NAMES), min_size=1, unique=True),
)
def test_a_config_comes_back_from_a_file(velocity, told, layers, score, names) -> None:
    config = TeacherConfig(
        class_names=tuple(names), velocity=velocity, point_features=told, pillar_layers=tuple(layers), score=score
    )
    again = parse(TeacherConfig, json.loads(json.dumps(config.to_dict())), "config")
    assert again == config and hash(again) == hash(config)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pillar_m": 0.0}, "pillar_m must be positive, not 0.0"),
        ({"sweeps": 0}, "sweeps must be positive"),
        ({"max_points": -1}, "max_points must not be negative"),
        ({"score": -0.1}, "score must not be negative"),
        ({"point_range": (0.0, 0.0, 0.0, -1.0, 1.0, 1.0)}, "point_range must be the least x, y, z and the greatest"),
        ({"up_scales": (1.0, 2.0)}, "blocks and their scales must be as many"),
        ({"block_widths": (4,)}, "blocks and their scales must be as many"),
        ({"suppression_m2": (1.0,)}, "suppression_m2 needs one number for each task"),
        ({"tasks": (("car",), ("truck",))}, "tasks must hold every class once; they hold car, truck"),
        ({"tasks": (("car", "truck"), ("adult", "car"))}, "tasks must hold every class once"),
        ({"pillar_m": 0.33}, "point_range must span whole pillars of 0.33 m; it is 25.6 x 25.6 m"),
        (
            {"point_range": (-13.12, -12.8, -3.0, 13.12, 12.8, 5.0)},
            "a canvas of 82 x 80 pillars cannot be divided by the trunk's stride of 8",
        ),
        ({"up_scales": (1.0, 2.0, 2.0)}, "maps of strides [2, 4, 8] do not become one size"),
        ({"up_scales": (3.0, 6.0, 12.0)}, "do not become one size of whole pillars"),
        ({"up_scales": (0.0, 1.0, 2.0)}, "up_scales must be positive numbers"),
        ({"up_scales": (1.5, 3.0, 6.0)}, "up_scales must be whole numbers or one divided by them"),
        ({"block_strides": (0, 2, 2)}, "block_strides must be positive numbers, at least one, not [0, 2, 2]"),
        ({"block_layers": (1, -1, 1)}, "block_layers must not be negative"),
        ({"pillar_layers": ()}, "pillar_layers must be positive numbers, at least one"),
        ({"pillar_layers": (7, 6)}, "pillar_layers must be even, except for the last, not [7, 6]"),
        (
            {"point_range": (-12.9, -12.8, -3.0, 12.8, 12.8, 5.0)},
            "point_range must span whole pillars of 0.32 m; it is 25.7 x 25.6 m",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(make_config, changes, says) -> None:
    with pytest.raises(ConfigurationError, match="teacher") as refused:
        make_config(**changes)
    assert says in str(refused.value)


def test_everything_wrong_is_told_at_once(make_config) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make_config(pillar_m=-1.0, sweeps=0, suppression_m2=(1.0,))
    for word in ("pillar_m", "sweeps", "suppression_m2"):
        assert word in str(refused.value)
