"""PandaSet into bags: a small drive with known motion."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.label_map import columns_for, load_label_map
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.pandaset import RIG_NAMES, import_pandaset
from semlt3d_ros.datasets.pandaset_files import CAMERAS
from semlt3d_ros.datasets.pandaset_labels import LABELS
from semlt3d_ros.datasets.pandaset_motion import T_BASE_LIDAR, T_BASE_VEHICLE
from semlt3d_ros.datasets.pickles import read_table
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.transform_tree import TransformTree


@pytest.fixture(scope="module")
def bag(pandaset_drive: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bag") / "drive.mcap"
    import_pandaset(pandaset_drive.folder, out)
    return out


def messages_of(bag: Path, topic: str) -> list[Any]:
    with BagSource(bag) as source:
        return [entry.message() for entry in source.messages([topic])]


def tree_of(bag: Path) -> TransformTree:
    tree = TransformTree()
    with BagSource(bag) as source:
        for entry in source.messages([topics.TF, topics.TF_STATIC]):
            for item in decode.decode_transforms(entry.message()):
                tree.add(item.parent, item.child, item.stamp, item.matrix, entry.topic == topics.TF_STATIC)
    return tree


def test_every_topic_is_written_with_its_own_type_in_the_order_of_time(bag: Path) -> None:
    with BagSource(bag) as source:
        stamps = [entry.stamp for entry in source.messages()]
        assert source.topics == {topic: topics.default_type(topic) for topic in source.topics}
        names = {topics.camera_of(topic) for topic in source.topics} - {None}
        kinds = set(source.topics) - {t for t in source.topics if topics.camera_of(t)}
    assert stamps == sorted(stamps)
    assert names == set(topics.NUSCENES_CAMERAS)
    assert kinds == {
        topics.TF,
        topics.TF_STATIC,
        topics.POINTS,
        topics.ODOMETRY,
        topics.TRUTH_LONG_TAIL,
        topics.TRUTH_OBJECTS,
        topics.TRUTH_SAMPLE,
    }


def test_images_are_the_original_files_at_their_own_stamps(pandaset_drive: Any, bag: Path) -> None:
    for index, camera in enumerate(CAMERAS):
        images = messages_of(bag, topics.camera_image_topic(RIG_NAMES[camera]))
        infos = messages_of(bag, topics.camera_info_topic(RIG_NAMES[camera]))
        assert len(images) == len(infos) == pandaset_drive.frames
        for frame, (image, info) in enumerate(zip(images, infos, strict=True)):
            assert bytes(image.data) == (pandaset_drive.folder / "camera" / camera / f"{frame:02d}.jpg").read_bytes()
            assert decode.stamp_of(image) == decode.stamp_of(info)
            assert decode.stamp_of(image) == pandaset_drive.stamp(index, frame)
            model = decode.decode_calibration(info).camera
            assert (model.width, model.height, model.K[0, 0], model.K[1, 2]) == (64, 36, 60.0 + index, 17.0)
            assert model.is_pinhole


def test_transforms_give_the_recorded_camera_poses(pandaset_drive: Any, bag: Path) -> None:
    tree = tree_of(bag)
    for camera in CAMERAS:
        stamps = json.loads((pandaset_drive.folder / "camera" / camera / "timestamps.json").read_text())
        recorded = json.loads((pandaset_drive.folder / "camera" / camera / "poses.json").read_text())
        for seconds, entry in zip(stamps, recorded, strict=True):
            pose = tree.lookup(topics.FIXED_FRAME, RIG_NAMES[camera], round(seconds * 1e6) * 1000)
            expected = rigid.transform(
                [entry["position"][axis] for axis in "xyz"], [entry["heading"][axis] for axis in "xyzw"]
            )
            np.testing.assert_allclose(pose, expected, atol=1e-9)


def test_mounts_are_those_of_the_vehicle(pandaset_drive: Any, bag: Path) -> None:
    tree = tree_of(bag)
    stamp = pandaset_drive.stamp(0, 0)
    for index, camera in enumerate(CAMERAS):
        mount = tree.lookup(topics.BASE_FRAME, RIG_NAMES[camera], stamp)
        # Vehicle poses are interpolated over 0.1 s of a curve of 40 m radius: the arc leaves the chord by 2 mm.
        np.testing.assert_allclose(mount, T_BASE_VEHICLE @ pandaset_drive.mount(index), atol=4e-3)
    np.testing.assert_allclose(tree.lookup(topics.BASE_FRAME, topics.LIDAR_FRAME, stamp), T_BASE_LIDAR, atol=1e-9)


def test_points_of_the_spinning_lidar_lie_where_they_lay_in_the_world(pandaset_drive: Any, bag: Path) -> None:
    tree = tree_of(bag)
    clouds = messages_of(bag, topics.POINTS)
    assert len(clouds) == pandaset_drive.frames
    for frame, message in enumerate(clouds):
        table = read_table(pandaset_drive.folder / "lidar" / f"{frame:02d}.pkl.gz", ("x", "y", "z", "i", "t", "d"))
        kept = table["d"] == 0
        cloud, stamp = decode.decode_point_cloud(message), decode.stamp_of(message)
        world = rigid.apply(tree.lookup(topics.FIXED_FRAME, topics.LIDAR_FRAME, stamp), cloud.xyz)
        np.testing.assert_allclose(world, np.stack([table[a][kept] for a in "xyz"], axis=1), atol=1e-5)
        assert cloud.intensity is not None and cloud.time is not None
        np.testing.assert_allclose(cloud.intensity, table["i"][kept] / 255, atol=1e-6)
        np.testing.assert_allclose(cloud.time, table["t"][kept] - stamp * 1e-9, atol=2e-6)
        assert stamp == pandaset_drive.stamp(0, frame)


def test_truth_has_labels_headings_velocities_and_point_counts(bag: Path) -> None:
    tree = tree_of(bag)
    for frame, message in enumerate(messages_of(bag, topics.TRUTH_LONG_TAIL)):
        labels, stamp = decode.decode_labels(message)
        assert labels.class_names == LABELS
        names = [LABELS[index] for index in labels.class_ids]
        by_id = {identity: row for row, identity in enumerate(labels.track_ids)}
        assert dict(zip(labels.track_ids, names, strict=True)) == {
            "car": "Car",
            "parked": "Pickup Truck",
            "child": "Pedestrian (Child)",
            "adult": "Pedestrian with Object",
            "bird": "Animals - Bird",
            "ufo": "other",
        }
        mapped = labels.as_classes(columns_for(labels.class_names, LT3D), LT3D.names)
        assert [LT3D.names[index] for index in mapped.class_ids if index >= 0] == ["car", "truck", "child", "adult"]
        car, parked = by_id["car"], by_id["parked"]
        pose = tree.lookup(topics.FIXED_FRAME, topics.BASE_FRAME, stamp)
        world = labels.boxes.moved(pose)
        np.testing.assert_allclose(world.centers[car], [20.0 + 0.5 * frame, 5.0, 1.0], atol=1e-6)
        np.testing.assert_allclose(labels.boxes.sizes[car], [4.5, 2.0, 1.5], atol=1e-6)
        # The ego tilts, which turns headings a little.
        assert rigid.wrap_angle(world.yaw[car]) == pytest.approx(0.0, abs=5e-3)
        assert rigid.wrap_angle(world.yaw[parked] - np.pi / 2) == pytest.approx(0.0, abs=5e-3)
        heading = rigid.yaw_from_rotation(pose[:3, :3])
        np.testing.assert_allclose(
            labels.boxes.velocity[car], 5.0 * np.array([np.cos(heading), -np.sin(heading)]), atol=0.03
        )
        np.testing.assert_array_equal(labels.boxes.velocity[parked], 0.0)
        assert (labels.lidar_points[car], labels.lidar_points[parked]) == (10, 5)


def test_truth_for_other_tools_is_the_same(bag: Path) -> None:
    ours, theirs = messages_of(bag, topics.TRUTH_LONG_TAIL), messages_of(bag, topics.TRUTH_OBJECTS)
    for message, other in zip(ours, theirs, strict=True):
        labels, _ = decode.decode_labels(message)
        detections = decode.decode_detection3d(other)
        np.testing.assert_allclose(detections.boxes.centers, labels.boxes.centers)
        assert [detections.class_names[i] for i in detections.class_ids] == [LABELS[i] for i in labels.class_ids]


def test_odometry_tells_speed_and_turn_rate_along_the_vehicle(pandaset_drive: Any, bag: Path) -> None:
    messages = messages_of(bag, topics.ODOMETRY)
    assert len(messages) == pandaset_drive.frames
    for message in messages[1:-1]:
        twist = message.twist.twist
        assert twist.linear.x == pytest.approx(pandaset_drive.speed, abs=0.05)
        assert abs(twist.linear.y) < 0.25 and abs(twist.linear.z) < 0.3
        assert twist.angular.z == pytest.approx(pandaset_drive.turn_rate, abs=0.005)


def test_summary_counts_what_was_written_and_what_was_left_out(pandaset_drive: Any, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    summary = import_pandaset(
        pandaset_drive.folder,
        tmp_path / "part.mcap",
        slice(1, 3),
        progress=lambda done, total: steps.append((done, total)),
    )
    assert summary["boxes"] == dict.fromkeys(
        ("Car", "Pickup Truck", "Pedestrian (Child)", "Pedestrian with Object", "Animals - Bird", "other"), 2
    )
    assert summary["boxes_unknown"] == {"Flying Saucer": 2}
    assert summary["boxes_duplicate"] == 2
    assert (summary["first_frame"], summary["frames"], summary["images"], summary["points"]) == (1, 2, 12, 30)
    assert steps[-1][0] == steps[-1][1] == len(steps)
    json.dumps(summary)


def test_part_of_a_drive_has_the_same_messages_as_the_whole(pandaset_drive: Any, bag: Path, tmp_path: Path) -> None:
    import_pandaset(pandaset_drive.folder, tmp_path / "part", range(2, 3))
    for topic in (topics.TRUTH_LONG_TAIL, topics.POINTS, topics.ODOMETRY):
        with BagSource(bag) as whole, BagSource(tmp_path / "part") as part:
            assert bytes(list(whole.messages([topic]))[2].data) == bytes(next(part.messages([topic])).data)


def test_documented_class_table_is_the_one_in_use() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "pandaset.md").read_text()
    rows = re.findall(r"^\| ([^|`]+?) \| (?:`(\w+)`.*?|ignored.*?) \|$", page, re.MULTILINE)
    documented = {label: name for label, name in rows if label in LABELS}
    shipped = load_label_map("pandaset_to_lt3d")
    assert {label: name for label, name in documented.items() if name} == shipped.classes
    assert {label for label, name in documented.items() if not name} == set(shipped.ignored)
    assert shipped.labels == load_label_map("pandaset_to_nuscenes").labels == set(LABELS)


def test_samples_are_named_by_sequence_and_frame(pandaset_drive: Any, bag: Path) -> None:
    samples = [decode.decode_sample(message) for message in messages_of(bag, topics.TRUTH_SAMPLE)]
    assert [(sample.data_set, sample.scene) for sample in samples] == [("PandaSet", "002")] * pandaset_drive.frames
    assert [sample.token for sample in samples] == [f"002/{frame:02d}" for frame in range(pandaset_drive.frames)]
