"""Logs of Argoverse 2, written small in its layout with pyarrow: what goes into the bag, and what is left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from scipy.spatial.transform import Rotation

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import ABSENT, load_class_list
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import Fault, FaultLog
from semlt3d_ros.core.frame import Frame, SampleInfo
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.argoverse2 import LABELS, T_BASE_EGO, import_argoverse2
from semlt3d_ros.datasets.argoverse2_folder import RING
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_sample
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics

pyarrow = pytest.importorskip("pyarrow")
feather = pytest.importorskip("pyarrow.feather")

START = 315_968_867_659_956_000
SWEEPS = 4
SWEEP, IMAGE, LATE = 100_000_000, 50_000_000, 12_000_000
"""Nanoseconds between sweeps, between images, and of a camera after its sweep (each 3 ms later than the one before)."""
SPEED, TURN_RATE = 9.0, 0.3
PORTRAIT, LANDSCAPE = (48, 64), (64, 48)
NAME = "0b97f0e4-1234-3c06-bd74-000000000001"
TRUCK_SPEED = np.array([4.0, -2.0])
"""m/s in the city frame."""
TRUCK_SIZE, TRUCK_YAW = np.array([8.0, 2.5, 3.0]), 0.6
CITY = np.array([1500.0, -820.0, 12.0])


def ego_pose(stamp: int) -> Matrix:
    """City <- egovehicle: a bend."""
    seconds = (stamp - START) * 1e-9
    yaw = 1.0 + TURN_RATE * seconds
    x, y = SPEED / TURN_RATE * (np.sin(yaw) - np.sin(1.0)), SPEED / TURN_RATE * (np.cos(1.0) - np.cos(yaw))
    return rigid.planar(CITY[0] + x, CITY[1] + y, yaw, CITY[2])


def truck_pose(stamp: int) -> Matrix:
    """City <- truck."""
    x, y = (ego_pose(START) @ [20.0, 2.0, 1.2, 1.0])[:2] + TRUCK_SPEED * (stamp - START) * 1e-9
    return rigid.planar(x, y, TRUCK_YAW, CITY[2] + 1.2)


def camera_mount(index: int) -> Matrix:
    optical = Rotation.from_matrix([[0, 0, 1], [-1, 0, 0], [0, -1, 0]])
    turned = Rotation.from_euler("z", -2 * np.pi * index / len(RING)) * optical
    return rigid.transform((1.5 - 0.1 * index, 0.0, 1.4), turned.as_matrix())


def image_stamps(index: int) -> list[int]:
    return [START + frame * IMAGE + LATE + index * 3_000_000 for frame in range(2 * SWEEPS)]


def write(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    feather.write_feather(pyarrow.table(columns), str(path), compression="zstd")


def as_columns(matrices: list[Matrix]) -> dict[str, np.ndarray]:
    quaternions = np.array([rigid.quaternion_from_rotation(matrix[:3, :3]) for matrix in matrices])
    places = np.array([matrix[:3, 3] for matrix in matrices])
    columns = {name: quaternions[:, place] for place, name in enumerate(("qx", "qy", "qz", "qw"))}
    return columns | {f"t{axis}_m": places[:, place] for place, axis in enumerate("xyz")}


def annotated(stamp: int) -> list[tuple[str, str, Matrix, np.ndarray, int]]:
    """Track, category, egovehicle <- box, size, points."""
    T_ego_city = rigid.inverse(ego_pose(stamp))
    cone = rigid.transform((*(ego_pose(START) @ [6.0, -3.0, 0.0, 1.0])[:2], CITY[2] + 0.1))
    rows = [("truck", "BOX_TRUCK", T_ego_city @ truck_pose(stamp), TRUCK_SIZE, 10)]
    rows.append(("cone", "CONSTRUCTION_CONE", T_ego_city @ cone, np.array([0.4, 0.4, 0.8]), 0))
    if stamp == START + SWEEP:
        rows.append(("seen once", "OFFICIAL_SIGNALER", rigid.planar(5.0, 5.0, 0.0), np.array([0.6, 0.6, 1.8]), 3))
        rows.append(("strange", "UNICORN", rigid.planar(9.0, 5.0, 0.0), np.array([2.0, 0.6, 1.8]), 3))
    return rows


def write_log(folder: Path) -> None:
    sweeps = [START + sweep * SWEEP for sweep in range(SWEEPS)]
    every = sorted({*sweeps, *(stamp for index in range(len(RING)) for stamp in image_stamps(index))})
    every = [every[0] - 5_000_000, *every]
    write(folder / "city_SE3_egovehicle.feather", {"timestamp_ns": every} | as_columns([ego_pose(s) for s in every]))
    names = [*RING, "up_lidar", "down_lidar"]
    mounts = [camera_mount(index) for index in range(len(RING))] + [rigid.transform((1.35, 0.0, 1.64))] * 2
    write(folder / "calibration" / "egovehicle_SE3_sensor.feather", {"sensor_name": names} | as_columns(mounts))
    sizes = np.array([PORTRAIT, *[LANDSCAPE] * (len(RING) - 1)])
    inner = {"sensor_name": list(RING), "fx_px": [40.0] * 7, "fy_px": [40.0] * 7, "cx_px": sizes[:, 0] / 2}
    inner |= {"cy_px": sizes[:, 1] / 2, "k1": [-0.25] * 7, "k2": [-0.2] * 7, "k3": [0.3] * 7}
    inner |= {"height_px": sizes[:, 1], "width_px": sizes[:, 0]}
    write(folder / "calibration" / "intrinsics.feather", inner)
    rng = np.random.default_rng(4)
    for index, name in enumerate(RING):
        (folder / "sensors" / "cameras" / name).mkdir(parents=True)
        for stamp in image_stamps(index):
            image = rng.integers(0, 255, (sizes[index, 1], sizes[index, 0], 3), dtype=np.uint8)
            path = folder / "sensors" / "cameras" / name / f"{stamp}.jpg"
            path.write_bytes(simplejpeg.encode_jpeg(image))
    rows = [(stamp, *row) for stamp in sweeps for row in annotated(stamp)]
    for stamp in sweeps:
        local = rng.uniform(-0.5, 0.5, (10, 3)) * TRUCK_SIZE * 0.9
        xyz = rigid.apply(rigid.inverse(ego_pose(stamp)) @ truck_pose(stamp), local)
        xyz = np.vstack([xyz, [[3.0, -30.0, -0.33]]]).astype(np.float16)
        columns = {axis: xyz[:, place] for place, axis in enumerate("xyz")}
        columns |= {"intensity": np.arange(11, dtype=np.uint8) * 25, "laser_number": np.arange(11, dtype=np.uint8) * 5}
        columns |= {"offset_ns": np.arange(11, dtype=np.int32) * 10_000_000}
        write(folder / "sensors" / "lidar" / f"{stamp}.feather", columns)
    boxes = {"timestamp_ns": [row[0] for row in rows], "track_uuid": [row[1] for row in rows]}
    boxes |= {"category": [row[2] for row in rows], "num_interior_pts": [row[5] for row in rows]}
    boxes |= {f"{name}_m": [row[4][place] for row in rows] for place, name in enumerate(("length", "width", "height"))}
    write(folder / "annotations.feather", boxes | as_columns([row[3] for row in rows]))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("argoverse2") / "val" / NAME
    write_log(folder)
    return folder


@pytest.fixture
def log(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "in" / "val" / NAME))


def imported(folder: Path, out: Path, **options: Any) -> tuple[Any, list[Fault]]:
    faults = FaultLog()
    return import_argoverse2(folder, out, faults=faults, **options), list(faults)


def frames_of(bag: Path) -> list[Frame]:
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_points=True, with_labels=True)
        frames = [f for e in source.messages() for f in builder.add(e.topic, e.type_name, e.message())]
        frames += builder.flush()
        assert not builder.drops and not list(builder.faults)
    return frames


def test_a_log_of_key_frames(written: Path, tmp_path: Path) -> None:
    summary, faults = imported(written, tmp_path / "out.mcap", key_frames=True)
    assert not faults
    assert (summary["frames"], summary["images"], summary["sweeps"], summary["labelled"]) == (4, 28, 4, 4)
    assert summary["boxes"] == {"BOX_TRUCK": 4, "CONSTRUCTION_CONE": 4, "OFFICIAL_SIGNALER": 1, "other": 1}
    assert summary["boxes_unknown"] == {"UNICORN": 1}
    frames = frames_of(tmp_path / "out.mcap")
    assert [frame.stamp for frame in frames] == image_stamps(0)[::2]
    for index, frame in enumerate(frames):
        labels, points = frame.labels, frame.points
        assert labels is not None and points is not None and frame.T_world_ego is not None
        assert [view.name for view in frame.views] == sorted(RING) and frame.views[0].name == "ring_front_center"
        T_city_base = ego_pose(frame.stamp) @ rigid.inverse(T_BASE_EGO)
        np.testing.assert_allclose(frame.T_world_ego, T_city_base, atol=1e-6)
        # The truck moves: its box is where it was when the anchor's image was taken.
        truck = rigid.apply(T_city_base, labels.boxes.centers[0])
        np.testing.assert_allclose(truck, truck_pose(frame.stamp)[:3, 3], atol=1e-5)
        np.testing.assert_allclose(labels.boxes.sizes[0], TRUCK_SIZE)
        turn = rigid.yaw_from_rotation(T_city_base)
        assert labels.boxes.yaw[0] + turn == pytest.approx(TRUCK_YAW, abs=1e-6)
        velocity = T_city_base[:2, :2] @ labels.boxes.velocity[0]
        np.testing.assert_allclose(velocity, TRUCK_SPEED, atol=1e-5)
        np.testing.assert_allclose(labels.boxes.velocity[1], 0.0, atol=1e-5)
        assert labels.lidar_points.tolist()[:2] == [10, 0] and labels.track_ids[:2] == ("truck", "cone")
        # Points are where they were measured; float16 of the files and 48 mm of the truck's way lie between.
        assert labels.boxes[:1].contains(points.xyz, margin=0.1).sum() == 10
        assert points.time is not None and points.time[:2] == pytest.approx([-0.012, -0.002], abs=1e-6)
        cone = T_city_base @ [*labels.boxes.centers[1], 1.0]
        np.testing.assert_allclose(cone[:2], (ego_pose(START) @ [6.0, -3.0, 0.0, 1.0])[:2], atol=1e-5)
        if index == 1:
            assert np.isnan(labels.boxes.velocity[2]).all()


def test_cameras_see_where_argoverse_says(written: Path, tmp_path: Path) -> None:
    """Points by the data set's own poses at each camera's stamp, as pinholes: its images are undistorted."""
    imported(written, tmp_path / "out.mcap", key_frames=True)
    points = np.random.default_rng(1).uniform(-40, 40, (200, 3)) + ego_pose(START)[:3, 3]
    for number, frame in enumerate(frames_of(tmp_path / "out.mcap")):
        assert frame.T_world_ego is not None
        for view in frame.views:
            index = RING.index(view.name)
            stamp = min(image_stamps(index), key=lambda time: abs(time - START - number * SWEEP))
            assert view.stamp == stamp and (view.camera.width, view.camera.height) == (LANDSCAPE if index else PORTRAIT)
            local = rigid.apply(rigid.inverse(ego_pose(stamp) @ camera_mount(index)), points)
            front = local[:, 2] > 1.0
            expected = local[front, :2] / local[front, 2:] * 40.0 + [view.camera.width / 2, view.camera.height / 2]
            through = rigid.inverse(view.T_ego_camera) @ rigid.inverse(frame.T_world_ego)
            np.testing.assert_allclose(view.camera.project(rigid.apply(through, points[front]))[0], expected, atol=2e-3)


def test_every_image_unless_only_key_frames_are_wanted(written: Path, tmp_path: Path) -> None:
    summary, _ = imported(written, tmp_path / "out.mcap", frames=slice(1, 3))
    assert (summary["frames"], summary["sweeps"], summary["labelled"]) == (2, 2, 2)
    assert summary["images"] == 7 * 3
    frames = frames_of(tmp_path / "out.mcap")
    assert [frame.labels is None for frame in frames] == [False, True, False]
    with BagSource(tmp_path / "out.mcap") as source:
        samples: list[SampleInfo] = [decode_sample(e.message()) for e in source.messages([topics.TRUTH_SAMPLE])]
    assert [sample.token for sample in samples] == [f"{NAME}/{START + sweep * SWEEP}" for sweep in (1, 2)]
    assert samples[0].data_set == "Argoverse 2" and not samples[0].region.windows


def test_labels_lead_to_the_lists() -> None:
    own = load_class_list("argoverse2")
    assert columns_for(LABELS, own)[:26] == tuple(range(26))
    assert columns_for(LABELS, own)[26:] == (ABSENT,) * 5
    assert columns_for(LABELS, LT3D)[LABELS.index("REGULAR_VEHICLE")] == LT3D.index["car"]


def _half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _other(path: Path) -> None:
    write(path, {"sensor_name": ["a"]})


def _words(path: Path) -> None:
    write(path, {name: ["a"] for name in feather.read_table(str(path)).column_names})


FRONT = f"sensors/cameras/ring_front_center/{image_stamps(0)[2]}.jpg"
LIDAR = f"sensors/lidar/{START + SWEEP}.feather"


@pytest.mark.parametrize(
    ("file", "damage", "reason", "lost"),
    [
        (FRONT, _half, "corrupt_jpeg", {"images": 27}),
        (FRONT, lambda path: path.write_bytes(b""), "encoding", {"images": 27}),
        (LIDAR, Path.unlink, "missing_file", {"sweeps": 3}),
        (LIDAR, _half, "damaged_file", {"sweeps": 3}),
        (LIDAR, _other, "columns", {"sweeps": 3}),
        (LIDAR, _words, "columns", {"sweeps": 3}),
        ("annotations.feather", Path.unlink, "missing_file", {"labelled": 0}),
        ("annotations.feather", _half, "damaged_file", {"labelled": 0}),
        ("annotations.feather", _words, "columns", {"labelled": 0}),
        ("calibration/intrinsics.feather", Path.unlink, "missing_file", {"images": 0}),
        ("calibration/egovehicle_SE3_sensor.feather", _other, "columns", {"images": 0}),
        ("sensors/lidar", shutil.rmtree, "missing_file", {"sweeps": 0}),
        ("sensors/cameras/ring_rear_left", shutil.rmtree, "missing_file", {"images": 24}),
    ],
)
def test_what_is_damaged_is_named_and_the_rest_goes_in(
    log: Path, tmp_path: Path, file: str, damage: Callable[[Path], None], reason: str, lost: dict[str, int]
) -> None:
    damage(log / file)
    summary, faults = imported(log, tmp_path / "out.mcap", key_frames=True)
    counts = {"frames": 4, "images": 28, "sweeps": 4, "labelled": 4} | lost
    assert {name: summary[name] for name in counts} == counts
    assert {fault.reason for fault in faults} == {reason}
    assert any(Path(file).name in fault.line or Path(file).parent.name in fault.line for fault in faults)


def test_a_missing_image_leaves_the_others_and_the_truth(log: Path, tmp_path: Path) -> None:
    """The next image of the same camera is nearest then; where there is none near, the camera is masked."""
    (log / FRONT).unlink()
    summary, faults = imported(log, tmp_path / "out.mcap", key_frames=True)
    assert (summary["images"], summary["labelled"]) == (28, 4) and not faults
    with BagSource(tmp_path / "out.mcap") as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_labels=True)
        frames = [f for e in source.messages() for f in builder.add(e.topic, e.type_name, e.message())]
    assert [frame.labels is None for frame in [*frames, *builder.flush()]] == [False] * 4


@pytest.mark.parametrize("damage", [Path.unlink, _half, _other])
def test_no_log_without_poses(log: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    damage(log / "city_SE3_egovehicle.feather")
    with pytest.raises(ConfigurationError, match="city_SE3_egovehicle"):
        imported(log, tmp_path / "out.mcap")


def test_odd_rows_are_left_out(log: Path, tmp_path: Path) -> None:
    path = log / "annotations.feather"
    columns = feather.read_table(str(path)).to_pydict()
    columns["length_m"][0], columns["tx_m"][1], columns["qw"][2] = -1.0, float("nan"), None
    write(path, columns)
    poses = feather.read_table(str(log / "city_SE3_egovehicle.feather")).to_pydict()
    poses["tx_m"][3] = float("inf")
    write(log / "city_SE3_egovehicle.feather", poses)
    summary, faults = imported(log, tmp_path / "out.mcap", key_frames=True)
    assert sum(summary["boxes"].values()) == 7
    assert {(fault.reason, fault.harmless) for fault in faults} == {("box", False), ("poses", True)}


def test_the_command(log: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(log, log.parent / "second")
    (shutil.copytree(log, log.parent / "half downloaded") / "city_SE3_egovehicle.feather").unlink()
    out = tmp_path / "bags"
    words = [str(log.parents[1]), str(out), "--key-frames", "--frames", "0:2", "--json"]
    assert main(["import", "argoverse2", *words]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in out.iterdir()) == [f"{NAME}.mcap", "second.mcap"]
    assert (answer["frames"], answer["images"], answer["boxes"]["BOX_TRUCK"]) == (4, 28, 4)
    assert [fault["place"] for fault in answer["faults"] if "there is no bag of it" in fault["text"]] == [
        "half downloaded"
    ]
    assert main(["import", "argoverse2", str(log / "sensors"), str(tmp_path / "a.mcap")]) == 2
    assert "no log of Argoverse 2" in capsys.readouterr().err
