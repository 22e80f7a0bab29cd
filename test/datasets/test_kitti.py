"""KITTI's raw drives and object frames, written small in its layout: what goes into the bag, and what is left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import Frame, SampleInfo
from semlt3d_ros.core.kitti_text import T_BASE_CAMERA0, parse_line
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.kitti import import_kitti
from semlt3d_ros.datasets.kitti_labels import LABELS
from semlt3d_ros.datasets.kitti_layouts import BETWEEN_FRAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_sample
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics

FRAMES = 4
SPEED, PERIOD = 8.0, 0.1
FOCAL, CENTER, SIZE = 90.0, (62.0, 18.0), (124, 38)
BASELINE = 0.54
T_VELO_IMU = rigid.transform((-0.8, 0.32, -0.8))
T_CAMERA_VELO = rigid.transform((0.0, -0.08, -0.27), np.array([[0.0, -1, 0], [0, 0, -1], [1, 0, 0]]))
CAR = (20.0, 3.0, -0.9)
"""Where the standing car is at frame 0, in the LiDAR's frame: its middle."""
CAR_SIZE = (4.0, 1.8, 1.6)


def text_of(values: Any) -> str:
    return " ".join(f"{value:.12e}" for value in np.asarray(values).reshape(-1))


def projection(camera: int) -> np.ndarray:
    K = np.array([[FOCAL, 0, CENTER[0]], [0, FOCAL, CENTER[1]], [0, 0, 1]])
    offset = np.array([0.06, 0.0, 0.003]) - (BASELINE if camera == 3 else 0.0) * np.array([1.0, 0, 0])
    return K @ np.c_[np.eye(3), offset]


def car_in_velo(frame: int) -> np.ndarray:
    return np.array(CAR) - [SPEED * PERIOD * frame, 0, 0]


def camera_line(frame: int, kind: str = "Car", lead: str = "") -> str:
    """The standing car's label in the rectified camera's frame, heading where the vehicle does."""
    x, y, z = rigid.apply(T_CAMERA_VELO, car_in_velo(frame)) + np.array([0, CAR_SIZE[2] / 2, 0])
    length, width, height = CAR_SIZE
    return f"{lead}{kind} 0.00 0 -1.5 10 10 40 30 {height} {width} {length} {x:.6f} {y:.6f} {z:.6f} {-np.pi / 2:.6f}"


def write_points(path: Path, frame: int) -> None:
    """Ten points in the car, five beside it."""
    car = car_in_velo(frame) + np.linspace(-0.5, 0.5, 10)[:, None]
    xyz = np.vstack([car, car_in_velo(frame) + np.tile([0.0, 5.0, 0.0], (5, 1))])
    path.parent.mkdir(parents=True, exist_ok=True)
    np.c_[xyz, np.linspace(0, 1, len(xyz))].astype("<f4").tofile(path)


def write_png(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.random.default_rng(1).integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))


def write_stamps(path: Path, delay_ms: float = 0.0) -> None:
    start = datetime(2011, 9, 26, 13, 2, 25, 951_199) + timedelta(milliseconds=delay_ms)
    lines = [(start + timedelta(seconds=PERIOD * frame)).isoformat(" ", "microseconds") for frame in range(FRAMES)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}337\n" for line in lines))


TRACKLETS = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<!DOCTYPE boost_serialization>
<boost_serialization signature="serialization::archive" version="9">
<tracklets class_id="0" tracking_level="0" version="0">
<count>{count}</count><item_version>1</item_version>{items}
</tracklets></boost_serialization>"""


def tracklet(kind: str, poses: list[tuple[float, float, float]], first: int = 0, size: Any = CAR_SIZE) -> str:
    length, width, height = size
    items = "".join(
        f"<item><tx>{x}</tx><ty>{y}</ty><tz>{z - height / 2}</tz><rx>0</rx><ry>0</ry><rz>0</rz><state>2</state>"
        "<occlusion>0</occlusion><occlusion_kf>0</occlusion_kf><truncation>0</truncation></item>"
        for x, y, z in poses
    )
    return (
        f"<item><objectType>{kind}</objectType><h>{height}</h><w>{width}</w><l>{length}</l><first_frame>{first}"
        f"</first_frame><poses><count>{len(poses)}</count><item_version>2</item_version>{items}</poses>"
        "<finished>1</finished></item>"
    )


@dataclass(frozen=True)
class Written:
    folder: Path
    labels: Path


@pytest.fixture
def drive(tmp_path: Path) -> Written:
    """A drive straight east past a standing car, in KITTI's layout for raw data."""
    day = tmp_path / "in" / "2011_09_26"
    folder = day / "2011_09_26_drive_0777_sync"
    for number, sensor in ((2, "image_02"), (3, "image_03"), (0, "image_00")):
        write_stamps(folder / sensor / "timestamps.txt", number * 0.001)
        for frame in range(FRAMES):
            write_png(folder / sensor / "data" / f"{frame:010d}.png")
    write_stamps(folder / "velodyne_points" / "timestamps.txt", -10.0)
    write_stamps(folder / "oxts" / "timestamps.txt")
    (folder / "oxts" / "data").mkdir()
    for frame in range(FRAMES):
        write_points(folder / "velodyne_points" / "data" / f"{frame:010d}.bin", frame)
        degrees = np.degrees(SPEED * PERIOD * frame / 6_378_137.0) / np.cos(np.radians(49.0))
        state = [49.0, 8.4 + degrees, 115.0, 0.0, 0.0, 0.0, 0.0, SPEED, SPEED, 0.0, 0.0, *[0.0] * 8, 0.01]
        (folder / "oxts" / "data" / f"{frame:010d}.txt").write_text(text_of([*state, *[0.0] * 10]))
    cameras = ["calib_time: 09-Jan-2012 13:57:47", f"R_rect_00: {text_of(np.eye(3))}"]
    cameras += [f"P_rect_{number:02d}: {text_of(projection(number))}" for number in range(4)]
    (day / "calib_cam_to_cam.txt").write_text("\n".join(cameras))
    for name, matrix in (("velo_to_cam", T_CAMERA_VELO), ("imu_to_velo", T_VELO_IMU)):
        lines = ["calib_time: x", f"R: {text_of(matrix[:3, :3])}", f"T: {text_of(matrix[:3, 3])}"]
        (day / f"calib_{name}.txt").write_text("\n".join(lines))
    poses = [tuple(car_in_velo(frame)) for frame in range(FRAMES)]
    cyclist = [(12.0 - SPEED * PERIOD * frame + 0.5 * frame, -2.0, -0.9) for frame in range(1, 3)]
    items = tracklet("Car", poses) + tracklet("Cyclist", cyclist, 1) + tracklet("Person (sitting)", [(9, 1, -1)])
    (folder / "tracklet_labels.xml").write_text(TRACKLETS.format(count=3, items=items))
    labels = tmp_path / "0777.txt"
    lines = [camera_line(frame, lead=f"{frame} 7 ") for frame in range(FRAMES - 1)]
    lines.append("0 -1 DontCare -1 -1 -10 2 3 22 13 -1000 -1000 -1000 -10 -1 -1 -1")
    labels.write_text("\n".join(lines) + "\n")
    return Written(folder, labels)


@pytest.fixture
def training(tmp_path: Path) -> Path:
    """Three frames of the object benchmark, of which the second has another calibration."""
    folder = tmp_path / "in" / "training"
    for name in ("calib", "label_2"):
        (folder / name).mkdir(parents=True)
    for frame, number in enumerate((3, 10, 7480)):
        write_png(folder / "image_2" / f"{number:06d}.png")
        write_points(folder / "velodyne" / f"{number:06d}.bin", frame)
        P2 = projection(2) + np.array([[0.0, 0, 0, frame], [0, 0, 0, 0], [0, 0, 0, 0]])
        entries = {"P0": projection(0), "P2": P2, "R0_rect": np.eye(3)}
        entries |= {"Tr_velo_to_cam": T_CAMERA_VELO[:3], "Tr_imu_to_velo": T_VELO_IMU[:3]}
        calibration = "\n".join(f"{name}: {text_of(values)}" for name, values in entries.items())
        (folder / "calib" / f"{number:06d}.txt").write_text(calibration + "\n\n")
        lines = [camera_line(frame, kind) for kind in ("Car", "Person_sitting")]
        lines.append("DontCare -1 -1 -10 2 3 22 13 -1 -1 -1 -1000 -1000 -1000 -10")
        (folder / "label_2" / f"{number:06d}.txt").write_text("\n".join(lines) + "\n")
    return folder


def frames_of(bag: Path) -> list[Frame]:
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_points=True, with_labels=True)
        frames = [
            frame
            for entry in source.messages(builder.topics)
            for frame in builder.add(entry.topic, entry.type_name, entry.message())
        ]
        frames += builder.flush()
        assert not builder.drops
    return frames


def samples_of(bag: Path) -> list[SampleInfo]:
    with BagSource(bag) as source:
        return [decode_sample(entry.message()) for entry in source.messages([topics.TRUTH_SAMPLE])]


def imported(folder: Path, out: Path, **options: Any) -> tuple[Any, list[Fault]]:
    faults = FaultLog()
    return import_kitti(folder, out, faults=faults, **options), list(faults)


def test_a_drive_with_tracklets(drive: Written, tmp_path: Path) -> None:
    summary, faults = imported(drive.folder, tmp_path / "out.mcap")
    assert not faults
    assert (summary["frames"], summary["images"], summary["sweeps"], summary["labelled"]) == (4, 8, 4, 4)
    assert summary["boxes"] == {"Car": 4, "Cyclist": 2, "Person_sitting": 1}
    frames = frames_of(tmp_path / "out.mcap")
    assert [[view.name for view in frame.views] for frame in frames] == [["image_02", "image_03"]] * 4
    for index, frame in enumerate(frames):
        assert frame.labels is not None and frame.points is not None and frame.T_world_ego is not None
        car = frame.labels.boxes[:1]
        assert frame.labels.class_names == LABELS
        np.testing.assert_allclose(car.centers[0], rigid.apply(T_BASE_CAMERA0 @ T_CAMERA_VELO, car_in_velo(index)))
        np.testing.assert_allclose(car.sizes[0], CAR_SIZE, atol=1e-6)
        np.testing.assert_allclose([car.yaw[0], *car.velocity[0]], 0.0, atol=1e-4)
        assert frame.labels.lidar_points[0] == 10 and car.contains(frame.points.xyz, 1e-3).sum() == 10
        np.testing.assert_allclose(frame.T_world_ego[:3, 3], [SPEED * PERIOD * index, 0, 0], atol=1e-5)
    labels = frames[1].labels
    assert labels is not None
    np.testing.assert_allclose(labels.boxes.velocity[labels.track_ids.index("1")], [5.0, 0.0], atol=1e-4)
    stereo = frames[0].views[1].T_ego_camera[:3, 3] - frames[0].views[0].T_ego_camera[:3, 3]
    np.testing.assert_allclose(stereo, [0.0, -BASELINE, 0.0], atol=1e-9)
    np.testing.assert_allclose(frames[0].views[0].camera.K, projection(2)[:, :3])


def test_pixels_are_those_of_the_projection_matrix(drive: Written, tmp_path: Path) -> None:
    imported(drive.folder, tmp_path / "out.mcap")
    frame = frames_of(tmp_path / "out.mcap")[0]
    points = np.random.default_rng(5).uniform((3, -3, -1), (40, 3, 1), (50, 3))
    in_camera = rigid.apply(T_CAMERA_VELO, points)
    for view in frame.views:
        expected = np.c_[in_camera, np.ones(50)] @ projection(int(view.name[-2:])).T
        placed = rigid.apply(rigid.inverse(view.T_ego_camera) @ T_BASE_CAMERA0 @ T_CAMERA_VELO, points)
        np.testing.assert_allclose(view.camera.project(placed)[0], expected[:, :2] / expected[:, 2:], atol=1e-4)


def test_tracking_labels_say_what_was_left_out_and_where_they_end(drive: Written, tmp_path: Path) -> None:
    summary, faults = imported(drive.folder, tmp_path / "out.mcap", labels=drive.labels)
    assert summary["boxes"] == {"Car": 3} and summary["labelled"] == 3
    assert [fault.harmless for fault in faults] == [True] and "labels end with frame 2" in faults[0].text
    frames = frames_of(tmp_path / "out.mcap")
    assert [frame.labels is None for frame in frames] == [False, False, False, True]
    labels = frames[1].labels
    assert labels is not None and labels.track_ids == ("7",)
    np.testing.assert_allclose(labels.boxes.yaw, 0.0, atol=1e-6)
    sample = samples_of(tmp_path / "out.mcap")[0]
    assert (sample.data_set, sample.token) == ("KITTI", "0000000000")
    assert sample.visibility == (1.0,)
    inside = sample.region.contains
    T_base_camera = frames[0].views[0].T_ego_camera

    def at(u: float, v: float) -> np.ndarray:
        ray = np.array([(u - CENTER[0]) / FOCAL, (v - CENTER[1]) / FOCAL, 1.0])
        return rigid.apply(T_base_camera, 20.0 * ray)[None]

    assert inside(at(60, 20)) and inside(at(1, 1)) and inside(at(122, 36))
    assert not inside(at(10, 10)) and not inside(at(-3, 20)) and not inside(at(126, 20)) and not inside(at(60, -3))
    assert not inside(rigid.apply(T_base_camera, [[0.0, 0.0, -20.0]]))  # behind


def test_object_frames_have_nothing_to_do_with_each_other(training: Path, tmp_path: Path) -> None:
    summary, faults = imported(training, tmp_path / "out.mcap")
    assert summary["boxes"] == {"Car": 3, "Person_sitting": 3} and summary["images"] == 3
    assert len(faults) == 1 and faults[0].harmless and "made up" in faults[0].text
    bag = tmp_path / "out.mcap"
    assert [sample.token for sample in samples_of(bag)] == ["000003", "000010", "007480"]
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_points=True, with_labels=True)
        frames = [f for e in source.messages() for f in builder.add(e.topic, e.type_name, e.message())]
        frames += builder.flush()
        assert [builder.reset_before(frame) for frame in frames] == ["", "gap", "gap"]
    assert [(b.stamp - a.stamp) // BETWEEN_FRAMES for a, b in pairwise(frames)] == [7, 7470]
    for index, frame in enumerate(frames):
        assert frame.labels is not None
        assert frame.labels.lidar_points[0] == 10
        assert frame.views[0].T_ego_camera[1, 3] == pytest.approx(0.06 + index / FOCAL)


def test_without_labels_or_sweeps(training: Path, tmp_path: Path) -> None:
    for name in ("label_2", "velodyne"):
        (training / name).rename(training / f"no_{name}")
    summary, _ = imported(training, tmp_path / "out.mcap")
    assert (summary["images"], summary["sweeps"], summary["labelled"]) == (3, 0, 0)


def test_imported_labels_are_known_to_the_shipped_maps() -> None:
    columns = columns_for(LABELS, LT3D)
    assert columns[LABELS.index("Van")] == LT3D.index["car"] and columns[LABELS.index("Misc")] < 0


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


@pytest.mark.parametrize(
    ("file", "damage", "reason", "lost"),
    [
        ("image_02/data/0000000001.png", Path.unlink, "missing_file", {"images": 7}),
        ("image_02/data/0000000001.png", _half, "corrupt_png", {"images": 7}),
        ("image_02/data/0000000001.png", _text("no image"), "encoding", {"images": 7}),
        ("velodyne_points/data/0000000001.bin", Path.unlink, "missing_file", {"sweeps": 3}),
        ("velodyne_points/data/0000000001.bin", _text("odd"), "damaged_file", {"sweeps": 3}),
        ("velodyne_points/data/0000000001.bin", _text(""), "points", {"sweeps": 3}),
        ("oxts/data/0000000001.txt", Path.unlink, "missing_file", {}),
        ("oxts/data/0000000001.txt", _text("49 nan 1"), "oxts", {}),
        ("oxts/timestamps.txt", Path.unlink, "stamps", {}),
        ("tracklet_labels.xml", Path.unlink, "missing_file", {"labelled": 0}),
        ("image_02/timestamps.txt", Path.unlink, "stamps", {}),
        ("../calib_imu_to_velo.txt", Path.unlink, "calibration", {}),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_goes_in(
    drive: Written, tmp_path: Path, file: str, damage: Callable[[Path], None], reason: str, lost: dict[str, int]
) -> None:
    damage(drive.folder / file)
    summary, faults = imported(drive.folder, tmp_path / "out.mcap")
    counts = {"frames": 4, "images": 8, "sweeps": 4, "labelled": 4} | lost
    assert {name: summary[name] for name in counts} == counts
    assert [fault.reason for fault in faults] == [reason]
    assert Path(file).name in faults[0].line or Path(file).parent.name in faults[0].line
    assert len(frames_of(tmp_path / "out.mcap")) == 4


def test_odd_points_stamps_and_labels_are_left_out_by_name(drive: Written, tmp_path: Path) -> None:
    points = drive.folder / "velodyne_points" / "data" / "0000000000.bin"
    table = np.fromfile(points, "<f4").reshape(-1, 4)
    np.vstack([table, [[np.nan, 0, 0, 0], [1e9, 0, 0, 0], [0, 0, 0, 0]]]).astype("<f4").tofile(points)
    stamps = drive.folder / "image_02" / "timestamps.txt"
    lines = stamps.read_text().splitlines()
    stamps.write_text("\n".join([lines[0], "", *lines[2:]]) + "\n")
    drive.labels.write_text(drive.labels.read_text() + "0 8 Car 0 0\n1 9 Car 0 0 0 0 0 9 9 -1 2 4 1 1 9 0\n2 x y z\n")
    summary, faults = imported(drive.folder, tmp_path / "out.mcap", labels=drive.labels)
    assert summary["frames"] == 3 and summary["boxes"] == {"Car": 2}
    told = {fault.reason: fault for fault in faults if not fault.harmless}
    assert (told["point"].count, told["label"].count, told["stamps"].count) == (3, 3, 1)


def test_unknown_types_are_others(training: Path, tmp_path: Path) -> None:
    path = training / "label_2" / "000010.txt"
    path.write_text(path.read_text().replace("Person_sitting", "Rickshaw"))
    summary, _ = imported(training, tmp_path / "out.mcap")
    assert summary["boxes_unknown"] == {"Rickshaw": 1} and summary["boxes"]["other"] == 1


@pytest.mark.parametrize(
    ("file", "told"),
    [
        ("../calib_velo_to_cam.txt", "calibration of its day belongs beside it"),
        ("../calib_cam_to_cam.txt", "calibration of its day belongs beside it"),
    ],
)
def test_no_drive_without_calibration(drive: Written, tmp_path: Path, file: str, told: str) -> None:
    (drive.folder / file).unlink()
    with pytest.raises(ConfigurationError, match=told):
        imported(drive.folder, tmp_path / "out.mcap")


def test_calibrations_that_lack_an_entry_name_file_and_entry(drive: Written, training: Path, tmp_path: Path) -> None:
    def without(path: Path, entry: str) -> None:
        lines = [line for line in path.read_text().splitlines() if not line.startswith(f"{entry}:")]
        path.write_text("\n".join(lines))

    without(training / "calib" / "000010.txt", "P2")
    summary, faults = imported(training, tmp_path / "frames.mcap")
    assert (summary["images"], summary["labelled"]) == (2, 2)
    assert any("frame 000010: 'P2' is missing" in fault.line for fault in faults)
    without(drive.folder.parent / "calib_cam_to_cam.txt", "P_rect_03")
    summary, faults = imported(drive.folder, tmp_path / "drive.mcap")
    assert (summary["images"], summary["labelled"]) == (4, 4)
    assert any("image_03: calib_cam_to_cam.txt: P_rect_03 is missing" in fault.line for fault in faults)
    without(drive.folder.parent / "calib_velo_to_cam.txt", "T")
    with pytest.raises(ConfigurationError, match=r"calib_velo_to_cam.txt: 'T' is missing"):
        imported(drive.folder, tmp_path / "again.mcap")


def test_an_image_without_calibration_of_its_camera_is_told(training: Path, tmp_path: Path) -> None:
    for number in (3, 10, 7480):
        write_png(training / "image_3" / f"{number:06d}.png")
    summary, faults = imported(training, tmp_path / "out.mcap")
    assert summary["images"] == 3
    assert [fault.count for fault in faults if "'P3' of image_03 is missing" in fault.line] == [3]


def test_the_command(drive: Written, training: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bags"
    assert main(["import", "kitti", str(tmp_path / "in"), str(out), "--frames", "0:2", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in out.iterdir()) == ["2011_09_26_drive_0777_sync.mcap", "training.mcap"]
    assert answer["boxes"] == {"Car": 4, "Person_sitting": 3, "Cyclist": 1}
    grey = ["import", "kitti", str(drive.folder), str(tmp_path / "grey.mcap"), "--grey", "--labels", str(drive.labels)]
    assert main(grey) == 0
    assert "4 frames with 12 images and 4 sweeps" in capsys.readouterr().out
    for words, told in (
        ([str(tmp_path / "in"), str(out), "--labels", str(drive.labels)], "belongs to one raw drive"),
        ([str(drive.labels.parent / "nowhere"), str(out)], "no KITTI recording"),
        ([str(drive.folder), str(tmp_path / "a.mcap"), "--labels", str(tmp_path / "none.txt")], "none.txt"),
        ([str(drive.folder), str(tmp_path / "a.mcap"), "--frames", "7:9"], "there are no frames 7:9"),
    ):
        assert main(["import", "kitti", *words]) == 2
        error = capsys.readouterr().err
        assert told in error and len(error.splitlines()) == 1


def test_lines_of_labels() -> None:
    found = parse_line("Car 0.25 0 1.0 1 2 3 4 1.5 1.6 4.0 1 2 30 0.5 0.9")
    assert (found.type, found.visibility, found.score, found.location) == ("Car", 0.75, 0.9, (1.0, 2.0, 30.0))
    assert np.isnan(parse_line("Car 0.0 2 1.0 1 2 3 4 1.5 1.6 4.0 1 2 30 0.5").visibility)
