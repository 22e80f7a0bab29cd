"""Real recordings: LiDAR, boxes and images fit together after the whole way through a bag and the frame builder."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from bench.nuscenes_layout import write_recorded_frame
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import CameraView, Frame
from semlt3d_ros.datasets.importing import import_scenes
from semlt3d_ros.datasets.nuscenes import open_nuscenes
from semlt3d_ros.datasets.nuscenes_folder import open_folder
from semlt3d_ros.datasets.pandaset import RIG_NAMES, import_pandaset
from semlt3d_ros.datasets.pandaset_files import PandaSetSequence
from semlt3d_ros.datasets.pandaset_labels import points_in_boxes
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec
from semlt3d_ros.sensing.rig import rig_from_topics

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
PANDASET = DATA / "pandaset" / "002"
NUSCENES = DATA / "nuscenes_scene0061_frame0"
FRAMES = range(10, 13)
STUDENT = ImageSpec(448, 256)
LARGE = ImageSpec(960, 540)
needs_pandaset = pytest.mark.skipif(not PANDASET.is_dir(), reason="PandaSet's recording is not in ../shared/data")
needs_nuscenes = pytest.mark.skipif(not NUSCENES.is_dir(), reason="nuScenes' key frame is not in ../shared/data")


@pytest.fixture(scope="module")
def sequence() -> PandaSetSequence:
    return PandaSetSequence(PANDASET)


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("panda") / "panda.mcap"
    import_pandaset(PANDASET, out, FRAMES)
    return out


def frames_of(bag: Path, spec: ImageSpec) -> list[Frame]:
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), spec, with_points=True, with_labels=True)
        frames = [
            frame
            for entry in source.messages(builder.topics)
            for frame in builder.add(entry.topic, entry.type_name, entry.message())
        ]
        assert not builder.drops and not builder.flush()
    return frames


@pytest.fixture(scope="module")
def frames(bag: Path) -> list[Frame]:
    return frames_of(bag, STUDENT)


def turned(degrees: float, axis: int = 1) -> rigid.Matrix:
    """A turn about one axis; 1 is up and down in a camera's frame, 2 in the vehicle's."""
    quaternion = np.zeros(4)
    quaternion[axis], quaternion[3] = np.sin(np.radians(degrees) / 2), np.cos(np.radians(degrees) / 2)
    return rigid.transform(rotation=quaternion)


def recorded_corners(sequence: PandaSetSequence, index: int, view: CameraView, boxes: Boxes3D) -> NDArray[np.float64]:
    """Pixels (N, 8, 2) in the student's image of cuboids, straight from PandaSet's own poses; NaN behind the camera."""
    camera = next(name for name, place in RIG_NAMES.items() if place == view.name)
    local = rigid.apply(rigid.inverse(sequence.cameras[camera].poses[index]), boxes.corners())
    _, model = sequence.image(camera, index)
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = (local @ model.K.T)[..., :2] / local[..., 2:]
    pixels[(local[..., 2] < 0.3).any(axis=-1)] = np.nan
    scale = STUDENT.width / model.width
    # The bottom of the image stays; what is missing at the top is black.
    return (pixels + 0.5) * scale - 0.5 + [0.0, STUDENT.height - model.height * scale]


def share_inside(outline: NDArray[np.float64], pixels: NDArray[np.float64], margin: float = 1.0) -> float:
    """Share of pixels (P, 2) inside the convex outline of corners (8, 2), or nearer to it than ``margin``."""
    hull = cv2.convexHull(outline.astype(np.float32))
    return float(np.mean([cv2.pointPolygonTest(hull, tuple(map(float, pixel)), True) > -margin for pixel in pixels]))


@pytest.fixture(scope="module")
def members(sequence: PandaSetSequence) -> dict[int, list[NDArray[np.int64]]]:
    """Frame -> indices of the points in each cuboid, found in PandaSet's world frame."""
    return {index: points_in_boxes(sequence.cuboids(index).boxes, sequence.points(index).xyz) for index in FRAMES}


def shares(
    sequence: PandaSetSequence,
    frames: list[Frame],
    members: dict[int, list[NDArray[np.int64]]],
    camera_error: rigid.Matrix,
    lidar_error: rigid.Matrix,
) -> dict[str, list[float]]:
    """Camera -> share of inside points of every annotated box of which the image shows at least 20 points.

    Which points belong to a box is known from PandaSet's world frame; their pixels come through the bag, the outline of
    the cuboid does not, so that an error anywhere on the way moves the one against the other.
    """
    found: dict[str, list[float]] = {name: [] for name in RIG_NAMES.values()}
    for index, frame in zip(FRAMES, frames, strict=True):
        assert frame.points is not None
        ego = rigid.apply(lidar_error, frame.points.xyz)
        for view in frame.views:
            corners = recorded_corners(sequence, index, view, sequence.cuboids(index).boxes)
            T_camera_ego = camera_error @ rigid.inverse(view.T_ego_camera)
            for outline, rows in zip(corners, members[index], strict=True):
                if len(rows) < 20 or np.isnan(outline).any():
                    continue
                pixels, visible = view.camera.project(rigid.apply(T_camera_ego, ego[rows]))
                if visible.sum() >= 20:
                    found[view.name].append(share_inside(outline, pixels[visible]))
    return found


@needs_pandaset
def test_every_frame_has_all_cameras_points_and_labels(frames: list[Frame], sequence: PandaSetSequence) -> None:
    assert [frame.stamp for frame in frames] == [sequence.cameras["front_camera"].stamps[i] for i in FRAMES]
    for frame in frames:
        assert len(frame.views) == 6 and not frame.missing
        assert frame.points is not None and len(frame.points) > 100_000
        assert frame.labels is not None and len(frame.labels.boxes) > 80


@needs_pandaset
def test_points_of_a_box_fall_into_its_projected_outline(
    sequence: PandaSetSequence, frames: list[Frame], members: dict[int, list[NDArray[np.int64]]]
) -> None:
    right = shares(sequence, frames, members, np.eye(4), np.eye(4))
    print({name: (len(found), round(float(np.mean(found)), 4)) for name, found in right.items()})
    assert all(found and np.mean(found) >= 0.99 for found in right.values())
    assert sum(map(len, right.values())) > 100
    # The test can fail: two degrees in the mount of a camera or of the LiDAR are seen at once.
    for camera_error, lidar_error in ((turned(2.0), np.eye(4)), (np.eye(4), turned(2.0, axis=2))):
        wrong = np.concatenate(list(shares(sequence, frames, members, camera_error, lidar_error).values()))
        print(f"two degrees off: mean share {wrong.mean():.4f}")
        assert wrong.mean() < 0.85


@needs_pandaset
def test_labels_project_to_where_the_cuboids_are(sequence: PandaSetSequence, frames: list[Frame]) -> None:
    distances = []
    for index, frame in zip(FRAMES, frames, strict=True):
        cuboids = sequence.cuboids(index)
        assert frame.labels is not None
        rows = [cuboids.track_ids.index(identity) for identity in frame.labels.track_ids]
        for view in frame.views:
            expected = recorded_corners(sequence, index, view, cuboids.boxes[np.array(rows)])
            local = rigid.apply(rigid.inverse(view.T_ego_camera), frame.labels.boxes.corners())
            pixels, visible = view.camera.project(local)
            seen = visible.all(axis=1) & ~np.isnan(expected).any(axis=(1, 2))
            distances.append(np.linalg.norm(pixels[seen] - expected[seen], axis=-1).ravel())
    distance = np.concatenate(distances)
    print(f"{len(distance)} corners: mean {distance.mean():.3f} px, 99 % below {np.quantile(distance, 0.99):.3f} px")
    # Boxes stay upright in the ego frame, whose z axis is not exactly the world's.
    assert distance.mean() < 0.3
    assert np.quantile(distance, 0.99) < 1.5


@needs_pandaset
def test_boxes_hold_the_points_that_were_counted(frames: list[Frame]) -> None:
    for frame in frames:
        assert frame.labels is not None and frame.points is not None
        counted = frame.labels.lidar_points
        for row in np.flatnonzero(counted >= 100):
            inside = frame.labels.boxes[row : row + 1].contains(frame.points.xyz, margin=0.1).sum()
            assert 0.9 * counted[row] <= inside


@needs_pandaset
def test_road_lies_at_height_zero_and_level(sequence: PandaSetSequence, frames: list[Frame]) -> None:
    """The lowest points around the vehicle: the road, but for what parked cars hide."""
    assert frames[0].points is not None
    xyz = frames[0].points.xyz
    near = xyz[(np.hypot(xyz[:, 0], xyz[:, 1]) < 20) & (np.abs(xyz[:, 1]) < 4) & (np.abs(xyz[:, 2]) < 0.3)]
    slope_x, slope_y, height = np.linalg.lstsq(np.c_[near[:, :2], np.ones(len(near))], near[:, 2], rcond=None)[0]
    assert abs(height) < 0.05
    assert abs(np.degrees(slope_x)) < 0.5 and abs(np.degrees(slope_y)) < 0.7


def silhouette(points: NDArray[np.float64], camera: CameraModel) -> NDArray[np.int64]:
    """Indices of the points (P, 3) of a camera's frame at which the depth jumps sideways: edges of near objects."""
    pixels, visible = camera.project(points)
    rows = np.flatnonzero(visible)
    spread = pixels[rows] * [1.0, 3.0]  # LiDAR rows lie further apart than columns
    distances, others = cKDTree(spread).query(spread, k=8)
    depth = np.linalg.norm(points[rows], axis=1)
    jump = (depth[others] > 1.3 * depth[:, None]) & (depth[others] > depth[:, None] + 2.0) & (distances < 9.0)
    return rows[jump.any(axis=1) & (depth < 40.0)]


def edge_rank(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(H, W) how strong a vertical edge each pixel is on, as a rank from 0 to 1."""
    grey = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (0, 0), 1.5).astype(np.float32)
    strength = np.abs(cv2.Sobel(grey, cv2.CV_32F, 1, 0)).ravel()
    return (np.argsort(np.argsort(strength)) / strength.size).reshape(grey.shape)


def edge_score(view: CameraView, frame: Frame, camera: CameraModel, camera_error: rigid.Matrix) -> float:
    """Mean edge rank at the LiDAR's silhouettes: 0.5 where image and LiDAR have nothing to do with each other."""
    assert frame.points is not None
    points = rigid.apply(rigid.inverse(view.T_ego_camera), frame.points.xyz)
    edges = silhouette(points, camera)
    pixels, visible = camera.project(rigid.apply(camera_error, points[edges]))
    columns, rows = np.round(pixels[visible]).astype(int).T
    return float(edge_rank(view.image)[rows, columns].mean())


@needs_pandaset
def test_silhouettes_of_the_lidar_lie_on_edges_of_rectified_images(bag: Path) -> None:
    """The images themselves tell that the extrinsics are right and that the lens distortion is taken out already."""
    frame = frames_of(bag, LARGE)[1]
    places = {place: camera for camera, place in RIG_NAMES.items()}
    lenses = yaml.safe_load((PANDASET.parent / "static_extrinsic_calibration.yaml").read_text())
    right, left_off, right_off, distorted = [], [], [], []
    for view in frame.views:
        right.append(edge_score(view, frame, view.camera, np.eye(4)))
        left_off.append(edge_score(view, frame, view.camera, turned(-2.0)))
        right_off.append(edge_score(view, frame, view.camera, turned(2.0)))
        coefficients = np.array(lenses[places[view.name]]["intrinsic"]["D"])
        lens = CameraModel(LARGE.width, LARGE.height, view.camera.K, "plumb_bob", coefficients)
        distorted.append(edge_score(view, frame, lens, np.eye(4)))
    print(
        "edge score per camera:", np.round(right, 3), "two degrees off:", np.round(left_off, 3), np.round(right_off, 3)
    )
    print("with the lens's distortion:", np.round(distorted, 3))
    assert np.mean(right) > max(np.mean(left_off), np.mean(right_off)) + 0.03
    assert (np.array(right) > np.array(distorted)).all()


@needs_nuscenes
def test_nuscenes_boxes_hold_points_and_land_in_images() -> None:
    info = json.loads((NUSCENES / "info.json").read_text())["data_list"][0]
    lidar = info["lidar_points"]
    points = np.fromfile(NUSCENES / lidar["lidar_path"], np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
    instances = [item for item in info["instances"] if item["num_lidar_pts"] >= 5]
    values = np.array([item["bbox_3d"] for item in instances])
    boxes = Boxes3D(values[:, :3], values[:, 3:6], values[:, 6], np.zeros((len(values), 2)))
    inside = boxes.contains(points)
    expected = np.array([item["num_lidar_pts"] for item in instances])
    assert np.abs(inside.sum(axis=1) - expected).max() <= 0.1 * expected.max() + 3
    seen = np.zeros(len(boxes), dtype=bool)
    for entry in info["images"].values():
        camera = CameraModel(1600, 900, np.array(entry["cam2img"]))
        T_camera_lidar = np.array(entry["lidar2cam"])
        moved = rigid.inverse(np.array(entry["cam2ego"])) @ np.array(lidar["lidar2ego"])
        # The two differ by the ego motion between the stamps of camera and LiDAR alone.
        assert np.abs(moved[:3, :3] - T_camera_lidar[:3, :3]).max() < 0.01
        for row in range(len(boxes)):
            pixels, visible = camera.project(rigid.apply(T_camera_lidar, points[inside[row]]))
            corners = rigid.apply(T_camera_lidar, boxes.corners()[row])
            if visible.sum() < 5 or (corners[:, 2] < 0.3).any():
                continue
            seen[row] = True
            outline = (corners @ camera.K.T)[:, :2] / corners[:, 2:]
            assert share_inside(outline, pixels[visible], margin=1.0) == 1.0
    assert seen.mean() > 0.9


@pytest.fixture(scope="module")
def nuscenes_frame(tmp_path_factory: pytest.TempPathFactory) -> Frame:
    """The key frame after its whole way: nuScenes' tables, a bag, the frame builder."""
    root = tmp_path_factory.mktemp("nuscenes")
    write_recorded_frame(NUSCENES, root)
    import_scenes(open_nuscenes(open_folder(root), ["scene-0061"]), root / "frame.mcap")
    (frame,) = frames_of(root / "frame.mcap", STUDENT)
    return frame


@needs_nuscenes
def test_points_of_a_nuscenes_box_fall_into_its_projected_outline(nuscenes_frame: Frame) -> None:
    """As above: which points belong to a box, and its outline, are known from the frame's own transforms."""
    info = json.loads((NUSCENES / "info.json").read_text())["data_list"][0]
    raw = np.fromfile(NUSCENES / info["lidar_points"]["lidar_path"], np.float32).reshape(-1, 5)[:, :3]
    values = np.array([item["bbox_3d"] for item in info["instances"]])
    boxes = Boxes3D(values[:, :3], values[:, 3:6], values[:, 6], np.zeros((len(values), 2)))
    inside = [np.flatnonzero(row) for row in boxes.contains(raw.astype(np.float64))]
    assert nuscenes_frame.points is not None and len(nuscenes_frame.points) == len(raw)

    def shares_with(camera_error: rigid.Matrix, lidar_error: rigid.Matrix) -> list[float]:
        ego, found = rigid.apply(lidar_error, nuscenes_frame.points.xyz), []
        for view in nuscenes_frame.views:
            entry = info["images"][view.name]
            corners = rigid.apply(np.array(entry["lidar2cam"]), boxes.corners())
            scale = STUDENT.width / 1600
            for outline, rows in zip(corners, inside, strict=True):
                if len(rows) < 5 or (outline[:, 2] < 0.3).any():
                    continue
                pixels, visible = view.camera.project(
                    rigid.apply(camera_error @ rigid.inverse(view.T_ego_camera), ego[rows])
                )
                if visible.sum() >= 5:
                    there = (outline @ np.array(entry["cam2img"]).T)[:, :2] / outline[:, 2:]
                    there = (there + 0.5) * scale - 0.5 + [0.0, STUDENT.height - 900 * scale]
                    found.append(share_inside(there, pixels[visible]))
        return found

    right = shares_with(np.eye(4), np.eye(4))
    print(f"{len(right)} box views: mean share {np.mean(right):.4f}")
    assert len(right) >= 20 and np.mean(right) >= 0.99
    for wrong in (shares_with(turned(2.0), np.eye(4)), shares_with(np.eye(4), turned(2.0, axis=2))):
        print(f"two degrees off: mean share {np.mean(wrong):.4f}")
        assert np.mean(wrong) < 0.85


@needs_nuscenes
def test_nuscenes_truth_holds_the_points_that_were_counted(nuscenes_frame: Frame) -> None:
    labels, points = nuscenes_frame.labels, nuscenes_frame.points
    assert labels is not None and points is not None and len(labels.boxes) == 69
    counted = labels.lidar_points
    found = labels.boxes.contains(points.xyz.astype(np.float64), margin=0.05).sum(axis=1)
    assert (counted >= 10).sum() >= 10
    assert (found[counted >= 10] >= 0.9 * counted[counted >= 10]).all()
