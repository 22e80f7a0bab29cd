"""The page about one's own data: its program runs as it stands, on a recorded drive and on a folder written here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.label_map import columns_for, load_label_map
from semlt3d_ros.core.rigid import Matrix
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "own_data.md").read_text()
DDAD = ROOT.parent / "shared" / "data" / "dgp_ddad" / "scene_02"
needs_ddad = pytest.mark.skipif(not DDAD.is_dir(), reason="DDAD's three frames are not in ../shared/data")
LINES = 40


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert found is not None
    return found[1]


def converted(folder: Path, tmp_path: Path) -> Path:
    """Run the page's program as a user would."""
    program, bag = tmp_path / "own_data.py", tmp_path / "own.mcap"
    program.write_text(block("python"))
    subprocess.run([sys.executable, str(program), str(folder), str(bag)], check=True, cwd=ROOT, timeout=120)
    return bag


def frames_of(bag: Path) -> list[Frame]:
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), None, with_points=True, with_labels=True)
        frames = [f for e in source.messages() for f in builder.add(e.topic, e.type_name, e.message())]
        frames += builder.flush()
        assert not builder.drops
    return frames


def pose_of(entry: dict[str, dict[str, float]]) -> Matrix:
    place, turn = entry["translation"], entry["rotation"]
    return rigid.transform([place[axis] for axis in "xyz"], [turn[f"q{axis}"] for axis in "xyzw"])


def entry_of(pose: Matrix) -> dict[str, dict[str, float]]:
    turn = rigid.quaternion_from_rotation(pose[:3, :3])
    return {
        "translation": dict(zip("xyz", pose[:3, 3].tolist(), strict=True)),
        "rotation": dict(zip(("qx", "qy", "qz", "qw"), turn.tolist(), strict=True)),
    }


def test_the_program_is_as_short_as_the_page_says() -> None:
    assert sum(bool(line.strip()) for line in block("python").splitlines()) <= LINES
    assert f"{LINES} lines" in PAGE


OPTICAL = np.array([[0.0, 0, 1], [-1, 0, 0], [0, -1, 0]])
MOUNTS = {
    "LIDAR": np.eye(4),
    "FRONT": rigid.transform((1.5, 0.0, 1.5), OPTICAL),
    "REAR": rigid.planar(-0.5, 0.1, np.pi) @ rigid.transform((0.0, 0.0, 1.5), OPTICAL),
}
SPEED = 12.0
CAR = rigid.planar(115.0, -40.0, 0.3, 0.8)
"""In the world."""


def vehicle(seconds: float) -> Matrix:
    return rigid.planar(100.0 + SPEED * seconds, -43.0, 0.2)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """Three frames of two cameras and a LiDAR, 9 ms after them, past one parked car; no box in the last."""
    folder = tmp_path / "scene"
    lens = {"fx": 60.0, "fy": 61.0, "cx": 31.5, "cy": 23.5, "skew": 0.0}
    calibration = {"names": list(MOUNTS), "intrinsics": [dict.fromkeys(lens, 0.0), lens, lens]}
    calibration["extrinsics"] = [entry_of(mount) for mount in MOUNTS.values()]
    data, samples = [], []
    local = np.random.default_rng(2).uniform(-0.5, 0.5, (30, 3)) * [4.0, 1.8, 1.5]
    for name in ("calibration", "ontology", "rgb", "points", "boxes"):
        (folder / name).mkdir(parents=True)
    for frame in range(3):
        keys = []
        for name, mount in MOUNTS.items():
            seconds = 0.1 * frame + (0.009 if name == "LIDAR" else 0.0)
            stem = f"{15616458249936530 + round(seconds * 1e7)}"
            pose = entry_of(vehicle(seconds) @ mount)
            if name == "LIDAR":
                points = rigid.apply(rigid.inverse(vehicle(seconds)) @ CAR, local)
                np.savez(folder / "points" / f"{stem}.npz", data=np.c_[points, np.linspace(0, 1, 30)])
                box = {"length": 4.0, "width": 1.8, "height": 1.5}
                box["pose"] = entry_of(rigid.inverse(vehicle(seconds)) @ CAR)  # type: ignore[assignment]
                found = [{"box": box, "class_id": 2, "instance_id": 5, "num_points": 30}] if frame < 2 else []
                (folder / "boxes" / f"{stem}.json").write_text(json.dumps({"annotations": found}))
                files = {"filename": f"points/{stem}.npz", "annotations": {"1": f"boxes/{stem}.json"}}
                datum = {"point_cloud": {**files, "pose": pose}}
            else:
                image = np.full((48, 64, 3), 90, np.uint8)
                (folder / "rgb" / f"{name}_{stem}").mkdir()
                path = folder / "rgb" / f"{name}_{stem}" / f"{stem}.jpg"
                path.write_bytes(simplejpeg.encode_jpeg(image))
                where = {"filename": path.relative_to(folder).as_posix(), "height": 48, "width": 64}
                datum = {"image": {**where, "pose": pose}}
            keys.append(f"{name}-{frame}")
            data.append({"key": keys[-1], "id": {"name": name}, "datum": datum})
        samples.append({"calibration_key": "lenses", "datum_keys": keys})
    (folder / "calibration" / "lenses.json").write_text(json.dumps(calibration))
    items = [{"id": 0, "name": "Person"}, {"id": 2, "name": "Car"}]
    (folder / "ontology" / "1.json").write_text(json.dumps({"items": items}))
    (folder / "scene_1.json").write_text(json.dumps({"samples": samples, "data": data}))
    return folder


def test_a_written_folder_becomes_the_bag_it_describes(written: Path, tmp_path: Path) -> None:
    frames = frames_of(converted(written, tmp_path))
    assert [len(frame.views) for frame in frames] == [2, 2, 2]
    assert [frame.stamp for frame in frames] == [1_561_645_824_993_653_000 + frame * 100_000_000 for frame in range(3)]
    assert [len(frame.labels.boxes) for frame in frames if frame.labels] == [1, 1, 0]
    for index, frame in enumerate(frames[:2]):
        labels, points = frame.labels, frame.points
        assert labels is not None and points is not None and frame.T_world_ego is not None
        np.testing.assert_allclose(frame.T_world_ego, vehicle(0.1 * index), atol=1e-9)
        expected = rigid.inverse(vehicle(0.1 * index)) @ CAR
        np.testing.assert_allclose(labels.boxes.centers[0], expected[:3, 3], atol=1e-6)
        assert labels.boxes.yaw[0] == pytest.approx(0.1) and labels.boxes.sizes[0].tolist() == [4.0, 1.8, 1.5]
        assert labels.boxes.contains(points.xyz, 1e-4).sum() == labels.lidar_points[0] == 30
        assert labels.track_ids == ("5",) and labels.class_names == ("Person", "Car")
        for view in frame.views:
            np.testing.assert_allclose(view.T_ego_camera, MOUNTS[view.name], atol=1e-9)
            np.testing.assert_allclose(view.camera.K, [[60, 0, 31.5], [0, 61, 23.5], [0, 0, 1]])


def test_check_and_detect_take_the_bag(written: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = converted(written, tmp_path)
    assert main(["check", str(bag)]) == 0
    assert "fit for detection: yes" in capsys.readouterr().out
    assert main(["detect", str(bag), "-o", str(tmp_path / "found.mcap"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sets_processed"] == 3


def test_the_label_map_of_the_page_leads_to_the_classes(tmp_path: Path) -> None:
    (tmp_path / "ddad_to_lt3d.yaml").write_text(block("yaml"))
    labels = load_label_map(tmp_path / "ddad_to_lt3d.yaml")
    assert set(labels.classes.values()) <= set(LT3D.names)
    assert columns_for(("Person", "Train", "Car"), LT3D, labels) == (LT3D.index["adult"], -1, LT3D.index["car"])


@needs_ddad
def test_points_of_a_box_fall_into_its_outline_on_recorded_frames(
    tmp_path: Path, share_inside: Callable[..., float]
) -> None:
    """Members and outlines straight from DGP's files and its own poses of every image; pixels through the bag."""
    frames = frames_of(converted(DDAD, tmp_path))
    scene = json.loads(next(DDAD.glob("scene_*.json")).read_text())
    data = {each["key"]: each for each in scene["data"]}
    calibration = json.loads(next((DDAD / "calibration").glob("*.json")).read_text())
    lenses = dict(zip(calibration["names"], calibration["intrinsics"], strict=True))
    ontology = {item["name"] for item in json.loads(next((DDAD / "ontology").glob("*.json")).read_text())["items"]}
    assert set(load_label_map_of_page(tmp_path)) == ontology
    right: list[float] = []
    wrong: list[float] = []
    turn = rigid.transform(rotation=[0.0, np.sin(np.radians(1)), 0.0, np.cos(np.radians(1))])
    assert len(frames) == 3 and [len(frame.labels.boxes) for frame in frames if frame.labels] == [13, 13, 13]
    for frame, sample in zip(frames, scene["samples"], strict=True):
        parts = {data[key]["id"]["name"]: data[key]["datum"] for key in sample["datum_keys"]}
        assert frame.points is not None and [view.name for view in frame.views] == sorted({*parts} - {"LIDAR"})
        cloud = parts["LIDAR"]["point_cloud"]
        points = np.load(DDAD / cloud["filename"])["data"][:, :3]
        assert len(points) == len(frame.points)
        for each in json.loads((DDAD / cloud["annotations"]["1"]).read_text())["annotations"]:
            T_lidar_box = pose_of(each["box"]["pose"])
            size = np.array([each["box"][side] for side in ("length", "width", "height")])
            rows = np.flatnonzero((np.abs(rigid.apply(rigid.inverse(T_lidar_box), points)) <= size / 2).all(axis=1))
            unit = Boxes3D(np.zeros((1, 3)), size[None], np.zeros(1), np.zeros((1, 2))).corners()[0]
            for view in frame.views:
                image, lens = parts[view.name]["image"], lenses[view.name]
                K = np.array([[lens["fx"], 0, lens["cx"]], [0, lens["fy"], lens["cy"]], [0, 0, 1]])
                T_camera_lidar = rigid.inverse(pose_of(image["pose"])) @ pose_of(cloud["pose"])
                corners = rigid.apply(T_camera_lidar @ T_lidar_box, unit)
                if len(rows) < 20 or (corners[:, 2] < 0.3).any():
                    continue
                camera: CameraModel = view.camera
                for shares, error in ((right, np.eye(4)), (wrong, turn)):
                    T_camera_ego = error @ rigid.inverse(view.T_ego_camera)
                    pixels, visible = camera.project(rigid.apply(T_camera_ego, frame.points.xyz[rows]))
                    if visible.sum() >= 20:
                        shares.append(share_inside((corners @ K.T)[:, :2] / corners[:, 2:], pixels[visible]))
    print(f"{len(right)} boxes in images: share {np.mean(right):.4f}; two degrees off: {np.mean(wrong):.4f}")
    assert len(right) == 9 and np.mean(right) >= 0.99 and np.mean(wrong) < 0.7


def load_label_map_of_page(tmp_path: Path) -> set[str]:
    (tmp_path / "page.yaml").write_text(block("yaml"))
    return load_label_map(tmp_path / "page.yaml").labels
