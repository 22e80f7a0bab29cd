"""KITTI's recordings: LiDAR, boxes and images fit together after the whole way through a bag and the frame builder.

Which points are a box's, its outline and the rectangle around it come straight from KITTI's files, by the formulas of
its development kit; the pixels of the points come through the bag.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.core.kitti_text import KittiObject, parse_line
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.datasets.kitti import import_kitti
from semlt3d_ros.datasets.kitti_files import read_calibration
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
OBJECT = DATA / "kitti_object"
DAY = DATA / "kitti_raw" / "2011_09_26"
DRIVE = DAY / "2011_09_26_drive_0009_sync"
TRACKING = DATA / "kitti_raw" / "tracking_label_02" / "0001.txt"
needs_object = pytest.mark.skipif(not OBJECT.is_dir(), reason="KITTI's object frames are not in ../shared/data")
needs_raw = pytest.mark.skipif(not DRIVE.is_dir(), reason="KITTI's raw drive is not in ../shared/data")

Recorded = tuple[list[KittiObject], NDArray[np.float64], NDArray[np.float64], Matrix]
"""Labels, points in the frame of the rectified camera 0, projection of camera 2, rectified camera 0 <- LiDAR."""


def frames_of(bag: Path) -> list[Frame]:
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_points=True, with_labels=True)
        frames = [
            frame
            for entry in source.messages(builder.topics)
            for frame in builder.add(entry.topic, entry.type_name, entry.message())
        ]
        return [*frames, *builder.flush()]


def turned(degrees: float, axis: int) -> Matrix:
    quaternion = np.zeros(4)
    quaternion[axis], quaternion[3] = np.sin(np.radians(degrees) / 2), np.cos(np.radians(degrees) / 2)
    return rigid.transform(rotation=quaternion)


def swept(path: Path, T_camera0_velo: Matrix) -> NDArray[np.float64]:
    return rigid.apply(T_camera0_velo, np.fromfile(path, np.float32).reshape(-1, 4)[:, :3].astype(np.float64))


def recorded_drive() -> list[Recorded]:
    cameras, velo = (read_calibration(DAY / f"calib_{name}.txt") for name in ("cam_to_cam", "velo_to_cam"))
    T_rect = rigid.transform(rotation=cameras["R_rect_00"].reshape(3, 3))
    T_camera0_velo = T_rect @ rigid.transform(velo["T"], velo["R"].reshape(3, 3))
    objects = [parse_line(line, tracking=True) for line in TRACKING.read_text().splitlines()]
    return [
        (
            [each for each in objects if each.frame == frame and each.labelled],
            swept(DRIVE / "velodyne_points" / "data" / f"{frame:010d}.bin", T_camera0_velo),
            cameras["P_rect_02"].reshape(3, 4),
            T_camera0_velo,
        )
        for frame in range(30)
    ]


def recorded_objects() -> list[Recorded]:
    recorded = []
    for frame in range(3):
        values = read_calibration(OBJECT / "calib" / f"{frame:06d}.txt")
        T_rect = rigid.transform(rotation=values["R0_rect"].reshape(3, 3))
        velo = values["Tr_velo_to_cam"].reshape(3, 4)
        T_camera0_velo = T_rect @ rigid.transform(velo[:, 3], velo[:, :3])
        lines = (OBJECT / "label_2" / f"{frame:06d}.txt").read_text().splitlines()
        objects = [each for each in map(parse_line, lines) if each.labelled]
        points = swept(OBJECT / "velodyne" / f"{frame:06d}.bin", T_camera0_velo)
        recorded.append((objects, points, values["P2"].reshape(3, 4), T_camera0_velo))
    return recorded


def box_of(found: KittiObject) -> tuple[Matrix, NDArray[np.float64]]:
    """Rectified camera 0 <- box, whose x is ahead and whose bottom is y = 0; and the corners (8, 3)."""
    (height, width, length), (c, s) = found.size, (np.cos(found.rotation_y), np.sin(found.rotation_y))
    T_camera_box = rigid.transform(found.location, np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]))
    x = np.array([1, 1, -1, -1, 1, 1, -1, -1]) * length / 2
    y = np.array([0, 0, 0, 0, -1, -1, -1, -1]) * height
    z = np.array([1, -1, -1, 1, 1, -1, -1, 1]) * width / 2
    return T_camera_box, rigid.apply(T_camera_box, np.stack([x, y, z], axis=1))


def projected(points: NDArray[np.float64], projection: NDArray[np.float64]) -> NDArray[np.float64]:
    pixels = np.c_[points, np.ones(len(points))] @ projection.T
    return pixels[:, :2] / pixels[:, 2:]


def inside_box(found: KittiObject, points: NDArray[np.float64]) -> NDArray[np.int64]:
    height, width, length = found.size
    local = rigid.apply(rigid.inverse(box_of(found)[0]), points)
    inside = (np.abs(local[:, 0]) <= length / 2) & (np.abs(local[:, 2]) <= width / 2)
    return np.flatnonzero(inside & (local[:, 1] <= 0) & (local[:, 1] >= -height))


def shares(
    recorded: list[Recorded],
    frames: list[Frame],
    share_inside: Callable[..., float],
    camera_error: Matrix = np.eye(4),  # noqa: B008
    lidar_error: Matrix = np.eye(4),  # noqa: B008
) -> list[float]:
    """Share of inside points of every box with at least 20 points in the image."""
    found = []
    for (objects, points, projection, _), frame in zip(recorded, frames, strict=True):
        assert frame.points is not None and len(frame.points) == len(points)
        view: CameraView = frame.views[0]
        T_camera_ego = camera_error @ rigid.inverse(view.T_ego_camera)
        for each in objects:
            corners, rows = box_of(each)[1], inside_box(each, points)
            if len(rows) < 20 or (corners[:, 2] < 0.3).any():
                continue
            placed = rigid.apply(T_camera_ego, rigid.apply(lidar_error, frame.points.xyz[rows]))
            pixels, visible = view.camera.project(placed)
            if visible.sum() >= 20:
                found.append(share_inside(projected(corners, projection), pixels[visible]))
    return found


@pytest.fixture(scope="module")
def drive_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("kitti") / "drive.mcap"
    summary = import_kitti(DRIVE, out, labels=TRACKING)
    assert (summary["frames"], summary["images"], summary["sweeps"], summary["labelled"]) == (30, 30, 30, 30)
    assert summary["points"] > 3_000_000 and summary["boxes"] == {"Car": 228, "Van": 12}
    return out


@pytest.fixture(scope="module")
def drive_frames(drive_bag: Path) -> list[Frame]:
    return frames_of(drive_bag)


@pytest.fixture(scope="module")
def object_frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    out = tmp_path_factory.mktemp("kitti") / "objects.mcap"
    summary = import_kitti(OBJECT, out)
    assert (summary["frames"], summary["images"], summary["sweeps"], summary["labelled"]) == (3, 3, 3, 3)
    assert summary["boxes"] == {"Car": 2, "Pedestrian": 1, "Truck": 1, "Cyclist": 1, "Misc": 1}
    return frames_of(out)


@needs_raw
def test_points_of_a_box_fall_into_its_outline_in_a_drive(
    drive_frames: list[Frame], share_inside: Callable[..., float]
) -> None:
    recorded = recorded_drive()
    right = shares(recorded, drive_frames, share_inside)
    print(f"{len(right)} boxes: mean share {np.mean(right):.4f}, least {min(right):.4f}")
    assert len(right) > 120 and np.mean(right) >= 0.99
    for errors in ({"camera_error": turned(2.0, 1)}, {"lidar_error": turned(2.0, 2)}):
        wrong = shares(recorded, drive_frames, share_inside, **errors)
        print(f"two degrees off: mean share {np.mean(wrong):.4f}")
        assert np.mean(wrong) < 0.85


@needs_object
def test_points_of_a_box_fall_into_its_outline_in_object_frames(
    object_frames: list[Frame], share_inside: Callable[..., float]
) -> None:
    recorded = recorded_objects()
    right = shares(recorded, object_frames, share_inside)
    print(f"{len(right)} boxes: shares {np.round(right, 4)}")
    assert len(right) >= 3 and min(right) >= 0.99
    for errors in ({"camera_error": turned(2.0, 1)}, {"lidar_error": turned(2.0, 2)}):
        wrong = shares(recorded, object_frames, share_inside, **errors)
        print(f"two degrees off: mean share {np.mean(wrong):.4f}")
        assert np.mean(wrong) < 0.9


@needs_raw
@needs_object
def test_labels_project_into_the_rectangles_that_were_drawn_in_the_images(
    drive_frames: list[Frame], object_frames: list[Frame]
) -> None:
    """The rectangles of the labels lie in the images themselves: no calibration has part in those of object frames."""
    overlaps = []
    for recorded, frames in ((recorded_drive(), drive_frames), (recorded_objects(), object_frames)):
        for (objects, _, _, _), frame in zip(recorded, frames, strict=True):
            assert frame.labels is not None and len(frame.labels.boxes) == len(objects)
            view = frame.views[0]
            local = rigid.apply(rigid.inverse(view.T_ego_camera), frame.labels.boxes.corners())
            for corners, each in zip(local, objects, strict=True):
                if (corners[:, 2] < 0.3).any() or each.truncated > 0:
                    continue
                pixels, _ = view.camera.project(corners)
                low = np.maximum(pixels.min(axis=0), 0)
                high = np.minimum(pixels.max(axis=0), [view.camera.width - 1, view.camera.height - 1])
                left, top, right, bottom = each.window
                common = np.maximum(np.minimum(high, [right, bottom]) - np.maximum(low, [left, top]), 0).prod()
                overlaps.append(common / ((high - low).prod() + (right - left) * (bottom - top) - common))
    print(f"{len(overlaps)} rectangles: mean overlap {np.mean(overlaps):.4f}, least {min(overlaps):.4f}")
    assert len(overlaps) > 150 and np.mean(overlaps) > 0.85


@needs_raw
def test_boxes_hold_the_points_that_were_counted(drive_frames: list[Frame]) -> None:
    for (objects, points, _, _), frame in zip(recorded_drive(), drive_frames, strict=True):
        assert frame.labels is not None and frame.points is not None
        counted = [len(inside_box(each, points)) for each in objects]
        np.testing.assert_allclose(frame.labels.lidar_points, counted, atol=2)
        for row, count in enumerate(frame.labels.lidar_points):
            inside = frame.labels.boxes[row : row + 1].contains(frame.points.xyz, margin=0.01).sum()
            assert 0.98 * count <= inside


@needs_raw
def test_parked_cars_stand_still_while_the_vehicle_drives(drive_frames: list[Frame]) -> None:
    """Poses, stamps and tracks together: the street of this drive is lined by parked cars."""
    speeds = np.concatenate([np.linalg.norm(f.labels.boxes.velocity, axis=1) for f in drive_frames if f.labels])
    poses = [frame.T_world_ego for frame in drive_frames]
    assert poses[0] is not None and poses[-1] is not None
    driven = float(np.linalg.norm(poses[-1][:3, 3] - poses[0][:3, 3]))
    print(f"driven {driven:.1f} m; speeds of labelled cars: median {np.nanmedian(speeds):.2f} m/s")
    assert 25 < driven < 35 and np.isfinite(speeds).mean() > 0.9 and np.nanmedian(speeds) < 0.7


@needs_object
def test_road_lies_at_height_zero_and_level(object_frames: list[Frame]) -> None:
    for frame in object_frames:
        assert frame.points is not None
        xyz = frame.points.xyz.astype(np.float64)
        plane = np.zeros(3)
        near = (np.hypot(xyz[:, 0], xyz[:, 1]) < 12) & (np.abs(xyz[:, 1]) < 3)
        for band in (0.3, 0.1, 0.1, 0.1):
            off = xyz[:, 2] - np.c_[xyz[:, :2], np.ones(len(xyz))] @ plane
            road = xyz[near & (np.abs(off) < band)]
            plane = np.linalg.lstsq(np.c_[road[:, :2], np.ones(len(road))], road[:, 2], rcond=None)[0]
        print(f"slopes {np.degrees(plane[:2]).round(2)} degrees, height {plane[2]:.3f} m")
        assert abs(plane[2]) < 0.1 and np.abs(np.degrees(plane[:2])).max() < 1.5
