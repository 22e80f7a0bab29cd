"""PandaSet into bags: a small drive with known motion, and what a bad one is answered with."""

from __future__ import annotations

import gzip
import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import simplejpeg

from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.data.bags import BagSource
from semlt3d_ros.data.pandaset import RIG_NAMES, import_pandaset
from semlt3d_ros.data.pandaset_files import CAMERAS
from semlt3d_ros.data.pandaset_labels import CLASS_OF_LABEL
from semlt3d_ros.data.pandaset_motion import T_BASE_LIDAR, T_BASE_VEHICLE
from semlt3d_ros.data.pickles import read_table
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.sensing.transform_tree import TransformTree

FRAMES = 4
START = 1_557_539_956.500022
SPEED, TURN_RATE = 8.0, 0.2
CUBOIDS = [
    # uuid, label, age, sensor, stationary, position at frame 0, metres per frame along +x of the world, yaw
    ("car", "Car", None, 0, False, (20.0, 5.0, 1.0), 0.5, -np.pi / 2),
    ("car-again", "Car", None, 1, False, (20.2, 5.0, 1.0), 0.5, -np.pi / 2),
    ("parked", "Pickup Truck", None, -1, True, (0.0, 15.0, 1.0), 0.0, 0.0),
    ("child", "Pedestrian", "Child", -1, False, (-4.0, 9.0, 1.0), 0.0, 0.3),
    ("adult", "Pedestrian with Object", "Adult", -1, False, (-6.0, 9.0, 1.0), 0.0, 0.3),
    ("bird", "Animals - Bird", None, -1, False, (3.0, 3.0, 3.0), 0.0, 0.0),
    ("ufo", "Flying Saucer", None, -1, False, (3.0, 30.0, 9.0), 0.0, 0.0),
]


def vehicle_pose(seconds: float) -> rigid.Matrix:
    """World <- PandaSet's vehicle frame (y forward) of a drive along a circle, on a slope."""
    heading = TURN_RATE * seconds
    radius = SPEED / TURN_RATE
    tilt = rigid.rotation_from_quaternion([0.02, -0.01, 0.0, 1.0])
    turn = rigid.planar(radius * np.sin(heading), radius * (1 - np.cos(heading)), heading - np.pi / 2, z=0.1 * seconds)
    turn[:3, :3] = turn[:3, :3] @ tilt
    return turn


def camera_mount(index: int) -> rigid.Matrix:
    """Vehicle <- optical frame of the camera that looks 60 degrees further clockwise for each index."""
    optical = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    turn = rigid.planar(0.1 * index, 1.0 - 0.2 * index, -np.pi / 3 * index, z=1.6)
    turn[:3, :3] = turn[:3, :3] @ optical
    return turn


def camera_delay(index: int) -> float:
    return -0.05 + 0.01 * index


def write_sequence(folder: Path) -> Path:
    """A drive of four frames in PandaSet's layout."""
    rng = np.random.default_rng(5)
    lidar_times = START + 0.1 * np.arange(FRAMES)
    write_track(folder / "lidar", lidar_times, [vehicle_pose(t - START) for t in lidar_times])
    (folder / "annotations" / "cuboids").mkdir(parents=True)
    for index, name in enumerate(CAMERAS):
        times = lidar_times + camera_delay(index)
        write_track(folder / "camera" / name, times, [vehicle_pose(t - START) @ camera_mount(index) for t in times])
        intrinsics = {"fx": 60.0 + index, "fy": 61.0, "cx": 31.0, "cy": 17.0}
        (folder / "camera" / name / "intrinsics.json").write_text(json.dumps(intrinsics))
        for frame in range(FRAMES):
            image = rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)
            (folder / "camera" / name / f"{frame:02d}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    for frame in range(FRAMES):
        write_points(folder, frame, lidar_times[frame])
        write_cuboids(folder, frame)
    return folder


def write_track(folder: Path, times: np.ndarray, poses: list[rigid.Matrix]) -> None:
    folder.mkdir(parents=True)
    entries = []
    for pose in poses:
        quaternion = rigid.quaternion_from_rotation(pose[:3, :3])
        entries.append(
            {
                "position": dict(zip("xyz", pose[:3, 3].tolist(), strict=True)),
                "heading": dict(zip("xyzw", quaternion.tolist(), strict=True)),
            }
        )
    (folder / "timestamps.json").write_text(json.dumps([round(float(t), 6) for t in times]))
    (folder / "poses.json").write_text(json.dumps(entries))


def write_points(folder: Path, frame: int, time: float) -> None:
    """Ten points in the moving car, five in the parked truck, one of the front LiDAR in the car as well."""
    car = np.array([20.0 + 0.5 * frame, 5.0, 1.0])
    xyz = np.vstack([car + np.linspace(-0.3, 0.3, 10)[:, None], np.tile([0.5, 15.0, 1.0], (5, 1)), car])
    count = len(xyz)
    table = {"x": xyz[:, 0], "y": xyz[:, 1], "z": xyz[:, 2], "i": np.linspace(0, 255, count)}
    table |= {"t": time - np.linspace(0.1, 0.0, count), "d": np.r_[np.zeros(count - 1, np.int64), 1]}
    write_table(folder / "lidar" / f"{frame:02d}.pkl.gz", table)


def write_cuboids(folder: Path, frame: int) -> None:
    rows = []
    for uuid, label, age, sensor, stationary, position, step, yaw in CUBOIDS:
        row = {"uuid": uuid, "label": label, "yaw": yaw, "stationary": stationary, "cuboids.sensor_id": sensor}
        row |= {"position.x": position[0] + step * frame, "position.y": position[1], "position.z": position[2]}
        row |= {"dimensions.x": 2.0, "dimensions.y": 4.5, "dimensions.z": 1.5}
        rows.append(row | {"attributes.pedestrian_age": age if age else np.nan})
    columns = {key: np.array([row[key] for row in rows], dtype=_column_type(rows[0][key])) for key in rows[0]}
    write_table(folder / "annotations" / "cuboids" / f"{frame:02d}.pkl.gz", columns)


def _column_type(value: Any) -> type:
    return type(value) if isinstance(value, (float, bool, int)) and value == value else object


def write_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    series = {
        name: pandas.Series(column, dtype=object if column.dtype == object else None)
        for name, column in columns.items()
    }
    table = pandas.DataFrame(series)
    table.columns = pandas.Index(list(columns), dtype=object)
    path.write_bytes(gzip.compress(pickle.dumps(table)))


@pytest.fixture(scope="module")
def drive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sequence(tmp_path_factory.mktemp("pandaset") / "002")


@pytest.fixture(scope="module")
def bag(drive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bag") / "drive.mcap"
    import_pandaset(drive, out)
    return out


@pytest.fixture()
def broken(tmp_path: Path) -> Path:
    """A drive of its own, to be damaged."""
    return write_sequence(tmp_path / "sequences" / "002")


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
    }


def test_images_are_the_original_files_at_their_own_stamps(drive: Path, bag: Path) -> None:
    for index, camera in enumerate(CAMERAS):
        images = messages_of(bag, topics.camera_image_topic(RIG_NAMES[camera]))
        infos = messages_of(bag, topics.camera_info_topic(RIG_NAMES[camera]))
        assert len(images) == len(infos) == FRAMES
        for frame, (image, info) in enumerate(zip(images, infos, strict=True)):
            assert bytes(image.data) == (drive / "camera" / camera / f"{frame:02d}.jpg").read_bytes()
            assert decode.stamp_of(image) == decode.stamp_of(info)
            assert decode.stamp_of(image) == round((START + 0.1 * frame + camera_delay(index)) * 1e6) * 1000
            model = decode.decode_camera_info(info)
            assert (model.width, model.height, model.K[0, 0], model.K[1, 2]) == (64, 36, 60.0 + index, 17.0)
            assert model.is_pinhole


def test_transforms_give_the_recorded_camera_poses(drive: Path, bag: Path) -> None:
    tree = tree_of(bag)
    for camera in CAMERAS:
        stamps = json.loads((drive / "camera" / camera / "timestamps.json").read_text())
        recorded = json.loads((drive / "camera" / camera / "poses.json").read_text())
        for seconds, entry in zip(stamps, recorded, strict=True):
            pose = tree.lookup(topics.FIXED_FRAME, RIG_NAMES[camera], round(seconds * 1e6) * 1000)
            expected = rigid.transform(
                [entry["position"][axis] for axis in "xyz"], [entry["heading"][axis] for axis in "xyzw"]
            )
            np.testing.assert_allclose(pose, expected, atol=1e-9)


def test_mounts_are_those_of_the_vehicle(bag: Path) -> None:
    tree = tree_of(bag)
    stamp = round(START * 1e6) * 1000
    for index, camera in enumerate(CAMERAS):
        mount = tree.lookup(topics.BASE_FRAME, RIG_NAMES[camera], stamp)
        # Vehicle poses are interpolated over 0.1 s of a curve of 40 m radius: the arc leaves the chord by 2 mm.
        np.testing.assert_allclose(mount, T_BASE_VEHICLE @ camera_mount(index), atol=4e-3)
    np.testing.assert_allclose(tree.lookup(topics.BASE_FRAME, topics.LIDAR_FRAME, stamp), T_BASE_LIDAR, atol=1e-9)


def test_points_of_the_spinning_lidar_lie_where_they_lay_in_the_world(drive: Path, bag: Path) -> None:
    tree = tree_of(bag)
    clouds = messages_of(bag, topics.POINTS)
    assert len(clouds) == FRAMES
    for frame, message in enumerate(clouds):
        table = read_table(drive / "lidar" / f"{frame:02d}.pkl.gz", ("x", "y", "z", "i", "t", "d"))
        kept = table["d"] == 0
        cloud, stamp = decode.decode_point_cloud(message), decode.stamp_of(message)
        world = rigid.apply(tree.lookup(topics.FIXED_FRAME, topics.LIDAR_FRAME, stamp), cloud.xyz)
        np.testing.assert_allclose(world, np.stack([table[a][kept] for a in "xyz"], axis=1), atol=1e-5)
        assert cloud.intensity is not None and cloud.time is not None
        np.testing.assert_allclose(cloud.intensity, table["i"][kept] / 255, atol=1e-6)
        np.testing.assert_allclose(cloud.time, table["t"][kept] - stamp * 1e-9, atol=2e-6)
        assert stamp == round((START + 0.1 * frame + camera_delay(0)) * 1e6) * 1000


def test_truth_has_classes_headings_velocities_and_point_counts(bag: Path) -> None:
    tree = tree_of(bag)
    for frame, message in enumerate(messages_of(bag, topics.TRUTH_LONG_TAIL)):
        labels, stamp = decode.decode_labels(message)
        names = [CLASS_NAMES[index] for index in labels.class_ids]
        by_id = {identity: row for row, identity in enumerate(labels.track_ids)}
        assert dict(zip(labels.track_ids, names, strict=True)) == {
            "car": "car",
            "parked": "truck",
            "child": "child",
            "adult": "adult",
        }
        car, parked = by_id["car"], by_id["parked"]
        pose = tree.lookup(topics.FIXED_FRAME, topics.BASE_FRAME, stamp)
        world = labels.boxes.moved(pose)
        np.testing.assert_allclose(world.centers[car], [20.0 + 0.5 * frame, 5.0, 1.0], atol=1e-6)
        np.testing.assert_allclose(labels.boxes.sizes[car], [4.5, 2.0, 1.5], atol=1e-6)
        assert rigid.wrap_angle(world.yaw[car]) == pytest.approx(
            0.0, abs=5e-3
        )  # the ego tilts, which turns headings a little
        assert rigid.wrap_angle(world.yaw[parked] - np.pi / 2) == pytest.approx(0.0, abs=5e-3)
        heading = rigid.yaw_from_rotation(pose[:3, :3])
        np.testing.assert_allclose(
            labels.boxes.velocity[car], 5.0 * np.array([np.cos(heading), -np.sin(heading)]), atol=5e-3
        )
        np.testing.assert_array_equal(labels.boxes.velocity[parked], 0.0)
        assert (labels.lidar_points[car], labels.lidar_points[parked]) == (10, 5)


def test_truth_for_other_tools_is_the_same(bag: Path) -> None:
    ours, theirs = messages_of(bag, topics.TRUTH_LONG_TAIL), messages_of(bag, topics.TRUTH_OBJECTS)
    for message, other in zip(ours, theirs, strict=True):
        labels, _ = decode.decode_labels(message)
        detections = decode.decode_detection3d(other)
        np.testing.assert_allclose(detections.boxes.centers, labels.boxes.centers)
        assert [detections.class_names[i] for i in detections.class_ids] == [CLASS_NAMES[i] for i in labels.class_ids]


def test_odometry_tells_speed_and_turn_rate_along_the_vehicle(bag: Path) -> None:
    messages = messages_of(bag, topics.ODOMETRY)
    assert len(messages) == FRAMES
    for message in messages[1:-1]:
        twist = message.twist.twist
        assert twist.linear.x == pytest.approx(SPEED, abs=0.05)
        assert abs(twist.linear.y) < 0.25 and abs(twist.linear.z) < 0.3
        assert twist.angular.z == pytest.approx(TURN_RATE, abs=0.005)


def test_summary_counts_what_was_written_and_what_was_left_out(drive: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    summary = import_pandaset(
        drive, tmp_path / "part.mcap", slice(1, 3), progress=lambda done, total: steps.append((done, total))
    )
    assert summary["boxes"] == {"car": 2, "truck": 2, "child": 2, "adult": 2}
    assert summary["boxes_dropped"] == {"Animals - Bird": 2, "Flying Saucer": 2}
    assert summary["boxes_duplicate"] == 2
    assert (summary["first_frame"], summary["frames"], summary["images"], summary["points"]) == (1, 2, 12, 30)
    assert steps[-1][0] == steps[-1][1] == len(steps)
    json.dumps(summary)


def test_part_of_a_drive_has_the_same_messages_as_the_whole(drive: Path, bag: Path, tmp_path: Path) -> None:
    import_pandaset(drive, tmp_path / "part", range(2, 3))
    for topic in (topics.TRUTH_LONG_TAIL, topics.POINTS, topics.ODOMETRY):
        with BagSource(bag) as whole, BagSource(tmp_path / "part") as part:
            assert bytes(list(whole.messages([topic]))[2].data) == bytes(next(part.messages([topic])).data)


class _Evil:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return exec, (f"open({str(self.witness)!r}, 'w')",)


def _evil(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps(_Evil(path.parent / "witness"))))


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _half_pickle(path: Path) -> None:
    content = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(content[: len(content) // 2]))


def _no_table(path: Path) -> None:
    path.write_bytes(gzip.compress(pickle.dumps([1, 2, 3])))


def _other_table(path: Path) -> None:
    write_table(path, {"x": np.zeros(3)})


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


@pytest.mark.parametrize(
    ("file", "damage", "told"),
    [
        ("lidar/01.pkl.gz", Path.unlink, "complete"),
        ("lidar/01.pkl.gz", _evil, "refused"),
        ("lidar/01.pkl.gz", _half, "download it again"),
        ("lidar/01.pkl.gz", _half_pickle, "download it again"),
        ("lidar/01.pkl.gz", _no_table, "expected a pandas DataFrame"),
        ("lidar/01.pkl.gz", _other_table, "no column 'y'"),
        ("annotations/cuboids/01.pkl.gz", Path.unlink, "complete"),
        ("annotations/cuboids/01.pkl.gz", _evil, "refused"),
        ("camera/left_camera/02.jpg", Path.unlink, "complete"),
        ("camera/left_camera/02.jpg", _text("no image"), "not a JPEG"),
        ("camera/left_camera/intrinsics.json", Path.unlink, "complete"),
        ("camera/left_camera/intrinsics.json", _text('{"fx": 0, "fy": 1, "cx": 2, "cy": 3}'), "fx"),
        ("camera/left_camera/intrinsics.json", _text('{"fx": 1}'), "fy"),
        ("camera/left_camera/intrinsics.json", _text("[]"), "fx"),
        ("camera/left_camera/poses.json", _text("[{"), "not JSON"),
        ("camera/left_camera/poses.json", _text("[{}, {}]"), "position"),
        ("lidar/poses.json", Path.unlink, "complete"),
        ("lidar/poses.json", _text('{"position": 1}'), "position"),
        ("lidar/timestamps.json", _text("[1.0]"), "stamps"),
        ("lidar/timestamps.json", _text("[1.0, 2.0, 2.0, 3.0]"), "do not rise"),
    ],
)
def test_a_bad_file_is_named_in_one_line_and_leaves_no_bag(
    broken: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], told: str
) -> None:
    damage(broken / file)
    out = tmp_path / "out" / "drive.mcap"
    with pytest.raises(ConfigurationError) as caught:
        import_pandaset(broken, out)
    message = str(caught.value)
    assert str((broken / file).parent) in message and told in message and "\n" not in message
    assert not out.parent.exists() or not list(out.parent.iterdir())
    assert not list(broken.rglob("witness"))


def test_cameras_of_another_length_are_refused(broken: Path, tmp_path: Path) -> None:
    for name in ("poses.json", "timestamps.json"):
        path = broken / "camera" / "left_camera" / name
        path.write_text(json.dumps(json.loads(path.read_text())[:-1]))
    with pytest.raises(ConfigurationError, match=r"left_camera.*3 poses, the LiDAR has 4"):
        import_pandaset(broken, tmp_path / "drive.mcap")


def test_a_folder_that_is_no_sequence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="not a PandaSet sequence"):
        import_pandaset(tmp_path, tmp_path / "drive.mcap")


@pytest.mark.parametrize("frames", [slice(0, 5), slice(4, None), slice(2, 2), slice(-5, None), range(3, 6)])
def test_frames_that_are_not_there_are_refused(drive: Path, tmp_path: Path, frames: slice | range) -> None:
    with pytest.raises(ConfigurationError, match="the sequence has frames 0:4"):
        import_pandaset(drive, tmp_path / "drive.mcap", frames)
    assert not list(tmp_path.iterdir())


def test_a_bag_is_replaced_only_when_told(drive: Path, tmp_path: Path) -> None:
    out = tmp_path / "drive.mcap"
    out.write_bytes(b"precious")
    with pytest.raises(ConfigurationError, match="there already"):
        import_pandaset(drive, out, slice(0, 1))
    assert out.read_bytes() == b"precious"
    import_pandaset(drive, out, slice(0, 1), overwrite=True)
    assert len(messages_of(out, topics.POINTS)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["drive.mcap"]


def test_a_failed_replacement_leaves_the_old_bag(broken: Path, tmp_path: Path) -> None:
    out = tmp_path / "drive.mcap"
    out.write_bytes(b"precious")
    (broken / "lidar" / "03.pkl.gz").unlink()
    with pytest.raises(ConfigurationError):
        import_pandaset(broken, out, overwrite=True)
    assert out.read_bytes() == b"precious"


def test_documented_class_table_is_the_one_in_use() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "pandaset.md").read_text()
    rows = dict(re.findall(r"^\| ([^|`]+?) \| (?:`(\w+)`.*?|dropped.*?) \|$", page, re.MULTILINE))
    assert {label: name or None for label, name in rows.items() if label in CLASS_OF_LABEL} == CLASS_OF_LABEL
    assert set(filter(None, CLASS_OF_LABEL.values())) < set(CLASS_NAMES)
