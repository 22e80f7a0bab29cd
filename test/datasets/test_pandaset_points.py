"""PandaSet's semantic labels: from the sequence into the bag's cloud, from there into frames in a student's classes."""

from __future__ import annotations

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pandas
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.point_classes import UNKNOWN, in_terms_of, point_class_names
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.datasets.pandaset import import_pandaset
from semlt3d_ros.datasets.pandaset_labels import LABELS
from semlt3d_ros.datasets.pandaset_points import NO_OBJECTS, NOTHING, point_class
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_point_cloud

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "pandaset" / "002"
NUMBERS = {"1": "Smoke", "5": "Vegetation", "7": "Road", "13": "Car", "14": "Pickup Truck", "41": "Building"}
OF_POINTS = [13] * 10 + [14, 14, 7, 5, 1] + [41]  # the last is the front LiDAR's


def write_semseg(folder: Path, frame: int, numbers: list[float]) -> Path:
    place = folder / "annotations" / "semseg"
    place.mkdir(exist_ok=True)
    (place / "classes.json").write_text(json.dumps(NUMBERS))
    table = pandas.DataFrame({"class": np.array(numbers, np.float64)})
    table.columns = pandas.Index(["class"], dtype=object)
    path = place / f"{frame:02d}.pkl.gz"
    path.write_bytes(gzip.compress(pickle.dumps(table)))
    return path


def clouds_of(bag: Path) -> list:
    with BagSource(bag) as source:
        return [decode_point_cloud(entry.message()) for entry in source.messages([topics.POINTS])]


def imported(folder: Path) -> tuple[list, FaultLog]:
    faults, out = FaultLog(), folder.parent / "out.mcap"
    import_pandaset(folder, out, overwrite=True, faults=faults)
    return clouds_of(out), faults


@pytest.fixture
def labelled(broken_drive: Path) -> Path:
    for frame in range(4):
        write_semseg(broken_drive, frame, OF_POINTS)
    return broken_drive


def test_the_cloud_says_what_its_points_lie_on(labelled: Path) -> None:
    clouds, faults = imported(labelled)
    names = (*point_class_names(LABELS), "nobody knows")
    told = [names[index] for index in clouds[0].classes]
    assert told == ["Car"] * 10 + ["Pickup Truck"] * 2 + ["ground", "vegetation", "nobody knows"]
    assert len(clouds) == 4 and not [fault for fault in faults if "semseg" in fault.place]


def test_a_sequence_without_them_has_clouds_without(broken_drive: Path) -> None:
    clouds, faults = imported(broken_drive)
    assert all(cloud.classes is None for cloud in clouds)
    assert not [fault for fault in faults if "semseg" in fault.place]


def test_what_is_damaged_is_named_and_the_points_stay(labelled: Path) -> None:
    write_semseg(labelled, 1, OF_POINTS[:-1])
    (labelled / "annotations" / "semseg" / "02.pkl.gz").unlink()
    write_semseg(labelled, 3, [np.nan, 99, -1e30, *OF_POINTS[3:]])
    clouds, faults = imported(labelled)
    assert [cloud.classes is None for cloud in clouds] == [False, True, True, False]
    assert [len(cloud) for cloud in clouds] == [15] * 4
    assert clouds[3].classes[:4].tolist() == [UNKNOWN] * 3 + [LABELS.index("Car")]
    told = {fault.reason: fault.text for fault in faults if "semseg" in fault.place}
    assert "frame 1: 15 classes for 16 points" in told["semseg"] and "frame 2" in told["missing_file"]


@pytest.mark.parametrize("content", ["{", "[1, 2]", '{"x": "Car"}'])
def test_without_names_there_are_no_classes(labelled: Path, content: str) -> None:
    (labelled / "annotations" / "semseg" / "classes.json").write_text(content)
    clouds, faults = imported(labelled)
    assert all(cloud.classes is None for cloud in clouds)
    assert [fault.reason for fault in faults if "classes.json" in fault.place] == ["damaged_file"]


def test_a_frame_has_them_in_the_students_classes(labelled: Path, tmp_path: Path) -> None:
    import_pandaset(labelled, bag := tmp_path / "drive.mcap")
    spec = DataSpec(bags=(str(bag),), cloud_points=1000)
    with Frames([spec], tmp_path / "data", ImageSpec(16, 8, 0.0), LT3D) as frames:
        classes = frames.frame(0).points.classes
    names = (*point_class_names(LT3D.names), "nobody knows")
    told = [names[index] for index in classes]
    assert sorted(told) == ["car"] * 10 + ["ground", "nobody knows", "truck", "truck", "vegetation"]


def test_indices_beyond_the_list_are_of_nobody() -> None:
    columns = columns_for(LABELS, LT3D, None)
    beyond = np.array([len(LABELS) + 4, 32000, -1, -7, 0], np.int16)
    assert in_terms_of(beyond, columns, len(LT3D.names)).tolist() == [UNKNOWN] * 4 + [LT3D.names.index("car")]


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recorded PandaSet beside the project")
def test_every_class_of_the_real_list_has_its_place() -> None:
    names = json.loads((SHARED / "annotations" / "semseg" / "classes.json").read_text()).values()
    assert len(names) == 42 and {*NO_OBJECTS, *NOTHING} <= set(names)
    assert all(point_class(name) is not None for name in names)
    assert point_class("Flying Saucer") is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="no recorded PandaSet beside the project")
def test_real_classes_agree_with_the_boxes(tmp_path: Path) -> None:
    """Points on cars lie in the boxes of cars, and the road lies below them."""
    import_pandaset(SHARED, bag := tmp_path / "real.mcap", slice(0, 1))
    spec = DataSpec(bags=(str(bag),), cloud_points=200_000)
    with Frames([spec], tmp_path / "data", ImageSpec(16, 8, 0.0), LT3D) as frames:
        frame = frames.frame(0)
    names = point_class_names(LT3D.names)
    cloud, cars = frame.points, frame.labels[frame.labels.class_ids == names.index("car")]
    on_car = cloud.classes == names.index("car")
    assert on_car.sum() > 10_000
    inside = cars.boxes.contains(cloud.xyz[on_car], 0.3).any(axis=0)
    assert inside.mean() > 0.97
    near = np.hypot(*cloud.xyz[:, :2].T) < 20
    assert abs(np.median(cloud.xyz[near & (cloud.classes == names.index("ground")), 2])) < 0.2
    assert (cloud.classes == UNKNOWN).mean() < 0.01


def test_refusals_are_not_run(labelled: Path) -> None:
    (labelled / "annotations" / "semseg" / "00.pkl.gz").write_bytes(gzip.compress(pickle.dumps(InputRejected)))
    clouds, faults = imported(labelled)
    assert clouds[0].classes is None and "refused_file" in {fault.reason for fault in faults}
