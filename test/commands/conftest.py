"""A tiny drive and an untrained checkpoint, made once; and what writes the result of each command."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.nuscenes_layout import Drive
from semlt3d_ros import cli
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.recording.event import EVENT_FILE, EventRecord

PACKAGE = Path(cli.__file__).parent


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """A student that has learnt nothing, as a checkpoint."""
    import torch

    from semlt3d_ros.checkpoints.checkpoint import save_checkpoint
    from semlt3d_ros.student.config import StudentConfig
    from semlt3d_ros.student.student import Student

    torch.manual_seed(0)
    config = StudentConfig.from_dict(
        {
            "image_width": 112,
            "image_height": 64,
            "backbone": "resnet10t",
            "backbone_args": {"channels": [8, 16, 24, 32], "stem_width": 8},
        }
    )
    path = tmp_path_factory.mktemp("checkpoint") / "untrained.safetensors"
    save_checkpoint(path, Student(config), "untrained", {})
    return path


@pytest.fixture(scope="session")
def drive(tmp_path_factory):
    """A simulated drive of four small camera sets."""
    path = tmp_path_factory.mktemp("drive") / "drive.mcap"
    assert main(["simulate", str(path), "--seed", "3", "--frames", "4", "--size", "112x64"]) == 0
    return path


@pytest.fixture
def answer(capsys):
    """Run a command with ``--json`` and get what it prints."""

    def run(*words):
        assert main([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refusal(capsys):
    """Run a command that must fail, and get its one line on stderr."""

    def run(*words):
        assert main([str(word) for word in words]) == 2
        output = capsys.readouterr()
        (line,) = output.err.splitlines()
        assert line.startswith("semlt3d: error: ")
        return line

    return run


# ---- writers of results, for those who ask what outlives a full disk ----


def saved_checkpoint(out: Path, checkpoint: Path) -> None:
    """As ``train`` and ``calibrate`` write what they have made."""
    from semlt3d_ros.checkpoints.checkpoint import load_student, save_checkpoint

    save_checkpoint(out, load_student(checkpoint)[0], "again", {})


def saved_clip(out: Path) -> None:
    import yaml

    from semlt3d_ros.semantics.tiny import TinyClip

    recipe = yaml.safe_load((PACKAGE.parent / "config" / "recipes" / "tiny_clip.yaml").read_text())
    TinyClip(recipe["model"]).save(out, "tiny", {})


def saved_experiment(out: Path) -> None:
    from semlt3d_ros.core.outputs import write_whole

    write_whole(out, "| table |\n" * 1000)


def saved_verdict(out: Path) -> None:
    """As ``models judge`` writes what it has found."""
    from semlt3d_ros.adaptation.verdict import Verdict
    from semlt3d_ros.adaptation.verdict_page import write_page

    write_page(Verdict(False, "new@1", "old@1", ("it is worse",) * 1000), out)


def begun_round(work: Path) -> None:
    """As ``distil`` writes down what it is about to do."""
    from semlt3d_ros.adaptation.plan import Plan, Rounds

    Rounds(work).begin(Plan(1, "", "old@1", tuple(f"event {number}" for number in range(99)), ()))


def added_version(models: Path, checkpoint: Path) -> None:
    """As ``distil`` promotes what it has learnt."""
    from semlt3d_ros.adaptation.models import ModelStore

    ModelStore(models).add(checkpoint, {})


def recorded_event(events: Path) -> int:
    """As ``record`` writes one."""
    from semlt3d_ros.recording.quota import Quota
    from semlt3d_ros.recording.ring import Entry
    from semlt3d_ros.recording.writer import EventWriter

    writer = EventWriter(events, Quota(10**9, 0), 10**6)
    message = Entry("/parked", "std_msgs/msg/String", 1, 1, bytes([0, 1, 0, 0]) + bytes(5000))
    writer.begin("20260101T000000Z-service", ("service",), 1.0, [message])
    writer.end()
    assert writer.close(60)
    return cli.FAILED if writer.report().lost_events else 0


def labelled_into(cache: Path, drive: Path) -> int:
    """As ``label`` does that keeps what students learn from."""
    out = cache.parent.parent / f"{cache.parent.name}.labels.mcap"
    return main(["label", str(drive), "-o", str(out), "--cache", str(cache), "--overwrite"])


class Inputs:
    """Runs each command that writes, for as much of it as writes a result to ``out``."""

    def __init__(
        self,
        drive: Path,
        checkpoint: Path,
        detections: Path,
        pandaset: Path,
        nuscenes: Path,
        kitti: Path,
        argoverse2: Path,
        weights: Path,
        published: Path,
        event: Path,
    ) -> None:
        self.runs: dict[tuple[str, str], Callable[[Path], Any]] = {
            ("simulate", "out"): lambda out: main(
                ["simulate", str(out), "--frames", "2", "--size", "112x64", "--overwrite"]
            ),
            ("import pandaset", "out"): lambda out: main(
                ["import", "pandaset", str(pandaset), str(out), "--overwrite"]
            ),
            ("import nuscenes", "out"): lambda out: main(
                ["import", "nuscenes", str(nuscenes), str(out), "--overwrite"]
            ),
            ("import kitti", "out"): lambda out: main(["import", "kitti", str(kitti), str(out), "--overwrite"]),
            ("import argoverse2", "out"): lambda out: main(
                ["import", "argoverse2", str(argoverse2), str(out), "--overwrite"]
            ),
            ("detect", "out"): lambda out: main(
                ["detect", str(drive), "-o", str(out), "--checkpoint", str(checkpoint), "--overwrite"]
            ),
            ("label", "out"): lambda out: main(["label", str(drive), "-o", str(out), "--overwrite"]),
            ("label", "cache"): lambda out: labelled_into(out, drive),
            ("corrupt", "out"): lambda out: main(
                ["corrupt", str(drive), "-o", str(out), "--corruption", "fog", "--severity", "1", "--overwrite"]
            ),
            ("evaluate", "out"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--out", str(out)]
            ),
            ("evaluate", "results"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--results", str(out)]
            ),
            ("evaluate", "kitti"): lambda out: main(
                ["evaluate", str(detections), "--truth", str(drive), "--kitti", str(out)]
            ),
            ("view", "save"): lambda out: main(["view", str(drive), "--save", str(out)]),
            ("check", "picture"): lambda out: main(["check", str(drive), "--picture", str(out)]),
            ("demo", "out"): lambda out: main(
                ["demo", "--no-view", "--frames", "1", "--out", str(out), "--checkpoint", str(checkpoint)]
            ),
            ("anchors", "out"): lambda out: main(["anchors", "car", "bus", "-o", str(out)]),
            ("import-weights", "out"): lambda out: main(["import-weights", str(weights), "-o", str(out)]),
            ("export", "out"): lambda out: main(["export", str(published), "-o", str(out), "--cameras", "1"]),
            ("train", "out"): lambda out: saved_checkpoint(out, checkpoint),
            ("calibrate", "out"): lambda out: saved_checkpoint(out, checkpoint),
            ("opinion", "out"): lambda out: main(["opinion", "--drives", "1", "-o", str(out)]),
            ("train-clip", "out"): saved_clip,
            ("models judge", "out"): saved_verdict,
            ("record", "events"): recorded_event,
            ("events view", "save"): lambda out: main(
                ["events", "view", str(event.parent), event.name, "--save", str(out)]
            ),
            ("distil", "work"): begun_round,
            ("distil", "models"): lambda out: added_version(out, checkpoint),
            ("experiment", "out"): saved_experiment,
            ("experiment", "folder"): lambda out: saved_checkpoint(out / "row-0.safetensors", checkpoint),
        }


@pytest.fixture(scope="session")
def writers(
    drive: Path, checkpoint: Path, published_weights: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, str], Callable[[Path], Any]]:
    folder = tmp_path_factory.mktemp("given")
    detections = folder / "detections.mcap"
    assert main(["detect", str(drive), "-o", str(detections), "--checkpoint", str(checkpoint)]) == 0
    Drive(scenes=1, samples=2).write(folder / "nuscenes")
    data_sets = small_pandaset(folder / "pandaset"), folder / "nuscenes"
    data_sets += small_kitti(folder / "training"), small_argoverse2(folder / "log")
    published = folder / "published.safetensors"
    assert main(["import-weights", str(published_weights), "-o", str(published), "--image-size", "64x32"]) == 0
    event = folder / "events" / "20260101T000000Z-always"
    event.mkdir(parents=True)
    (event / drive.name).write_bytes(drive.read_bytes())
    with BagSource(drive) as source:
        record = EventRecord(("always",), source.start, source.end, (drive.name,))
    (event / EVENT_FILE).write_text(record.to_json())
    return Inputs(drive, checkpoint, detections, *data_sets, published_weights, published, event).runs


def small_kitti(folder: Path) -> Path:
    """A frame of the object benchmark that KITTI's importer begins to write: a sweep."""
    (folder / "calib").mkdir(parents=True)
    (folder / "velodyne").mkdir()
    rotation = "1 0 0 0 1 0 0 0 1"
    lines = ["P2: 700 0 300 40 0 700 100 0 0 0 1 0", f"R0_rect: {rotation}"]
    lines.append("Tr_velo_to_cam: 0 -1 0 0 0 0 -1 0 1 0 0 0")
    (folder / "calib" / "000000.txt").write_text("\n".join(lines))
    np.ones((1000, 4), "<f4").tofile(folder / "velodyne" / "000000.bin")
    return folder


def small_argoverse2(folder: Path) -> Path:
    """A log that Argoverse 2's importer begins to write: a sweep."""
    pyarrow, feather = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.feather")
    (folder / "calibration").mkdir(parents=True)
    (folder / "sensors" / "lidar").mkdir(parents=True)
    zeros = {name: [0.0, 0.0] for name in ("qx", "qy", "qz", "tx_m", "ty_m", "tz_m")}
    poses = {"timestamp_ns": [10**9, 2 * 10**9], "qw": [1.0, 1.0], **zeros}
    feather.write_feather(pyarrow.table(poses), str(folder / "city_SE3_egovehicle.feather"))
    names = ("x", "y", "z", "intensity", "laser_number", "offset_ns")
    points = {name: np.random.default_rng(1).uniform(1, 9, 1000) for name in names}
    feather.write_feather(pyarrow.table(points), str(folder / "sensors" / "lidar" / f"{10**9}.feather"))
    return folder


def small_pandaset(folder: Path) -> Path:
    """A sequence that PandaSet's importer begins to write, in its own layout."""
    pandas = pytest.importorskip("pandas")
    import json

    import simplejpeg

    pose = {"position": {"x": 0.0, "y": 0.0, "z": 0.0}, "heading": {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0}}
    stamps, poses = json.dumps([1.0, 1.1]), json.dumps([pose] * 2)
    names = ("front", "front_left", "front_right", "left", "right", "back")
    for part in ("lidar", *(f"camera/{name}_camera" for name in names)):
        (folder / part).mkdir(parents=True)
        (folder / part / "poses.json").write_text(poses)
        (folder / part / "timestamps.json").write_text(stamps)
        if part != "lidar":
            (folder / part / "intrinsics.json").write_text(json.dumps({"fx": 50.0, "fy": 50.0, "cx": 32.0, "cy": 24.0}))
    (folder / "annotations" / "cuboids").mkdir(parents=True)
    random = np.random.default_rng(0)
    for index in range(2):
        cloud = pandas.DataFrame(random.normal(size=(500, 4)), columns=["x", "y", "z", "i"]).assign(t=1.0, d=0)
        cloud.to_pickle(folder / "lidar" / f"{index:02d}.pkl.gz")
        pandas.DataFrame({"label": []}).to_pickle(folder / "annotations" / "cuboids" / f"{index:02d}.pkl.gz")
        for name in names:
            image = random.integers(0, 255, (48, 64, 3), np.uint8)
            (folder / "camera" / f"{name}_camera" / f"{index:02d}.jpg").write_bytes(simplejpeg.encode_jpeg(image))
    return folder
