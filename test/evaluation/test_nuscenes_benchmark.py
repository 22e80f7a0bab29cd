"""Results files against nuScenes' own tables: the figures are those of the development kit's benchmark."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from nuscenes.eval.detection.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.nuscenes import NuScenes
from nuscenes.utils.splits import create_splits_scenes

from bench.nuscenes_layout import Drive, token
from semlt3d_ros.cli import main
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.shipped_files import shipped_file
from semlt3d_ros.datasets.nuscenes_folder import open_folder
from semlt3d_ros.evaluation.nuscenes_truth import NuScenesTruth
from semlt3d_ros.evaluation.results_nuscenes import NuScenesResults

SAMPLES = 6
NAMES = ("car", "truck", "bus", "trailer", "construction_vehicle", "pedestrian", "motorcycle", "bicycle")
NAMES = (*NAMES, "traffic_cone", "barrier")
SHOWN = {"ate": "trans_err", "ase": "scale_err", "aoe": "orient_err", "ave": "vel_err", "aae": "attr_err"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both scenes of mini_val and one besides, with every category, bicycle racks among them; no files."""
    folder = tmp_path_factory.mktemp("nuscenes")
    drive = Drive(scenes=3, samples=SAMPLES, objects=70, sweeps=False, files=0, numbers=(103, 916, 61))
    drive.write(folder)
    park_in_racks(folder)
    return folder


def park_in_racks(root: Path) -> None:
    """Large racks, and a motorcycle and a bicycle in each of them."""
    path = root / "v1.0-mini" / "sample_annotation.json"
    rows = json.loads(path.read_text())
    kinds = {row["token"]: row["name"] for row in json.loads((root / "v1.0-mini" / "category.json").read_text())}
    instances = json.loads((root / "v1.0-mini" / "instance.json").read_text())
    kind_of = {row["token"]: kinds[row["category_token"]] for row in instances}
    racks: dict[str, dict[str, Any]] = {}
    for row in rows:
        if kind_of[row["instance_token"]] == "static_object.bicycle_rack":
            row["size"] = [4.0, 6.0, 2.5]
            racks.setdefault(row["sample_token"], row)
    for row in rows:
        parked = kind_of[row["instance_token"]] in ("vehicle.motorcycle", "vehicle.bicycle")
        if parked and row["sample_token"] in racks and int(row["instance_token"], 16) % 2:
            row["translation"] = np.add(racks[row["sample_token"]]["translation"], [0.5, 0.0, 0.0]).tolist()
            row["num_lidar_pts"] = 5
    path.write_text(json.dumps(rows, indent=0))


@pytest.fixture(scope="module")
def kit(root: Path) -> NuScenes:
    return NuScenes("v1.0-mini", str(root), verbose=False)


def results_for(kit: NuScenes, scenes: tuple[str, ...], seed: int = 0) -> dict[str, Any]:
    """Boxes near the true ones, mostly of the right class, and others anywhere within 60 m."""
    rng = np.random.default_rng(seed)
    results: dict[str, list[dict[str, Any]]] = {}
    for sample in kit.sample:
        if kit.get("scene", sample["scene_token"])["name"] not in scenes:
            continue
        entries = results.setdefault(sample["token"], [])
        for key in sample["anns"]:
            record = kit.get("sample_annotation", key)
            for _ in range(rng.integers(0, 3)):
                entries.append(entry(rng, record["translation"], record["size"], record["rotation"], record))
        for _ in range(15):
            place = [*np.add(entries[0]["translation"][:2], rng.uniform(-60, 60, 2)), 1.0]
            entries.append(entry(rng, place, [1.0, 2.0, 1.5], [1.0, 0.0, 0.0, 0.0], None))
        for each in entries:
            each["sample_token"] = sample["token"]
    return {"meta": dict.fromkeys(["use_camera", "use_lidar", "use_radar", "use_map", "use_external"], False)} | {
        "results": results
    }


NAME_OF = {
    **{"vehicle.bus.rigid": "bus", "vehicle.bus.bendy": "bus", "vehicle.construction": "construction_vehicle"},
    "movable_object.trafficcone": "traffic_cone",
}


def entry(
    rng: np.random.Generator, place: list[float], size: list[float], rotation: list[float], record: Any
) -> dict[str, Any]:
    kind = record["category_name"] if record else ""
    name = NAME_OF.get(kind, "pedestrian" if kind.startswith("human") else kind.split(".")[-1])
    if name not in NAMES or rng.random() < 0.1:
        name = str(rng.choice(NAMES))
    turned = np.add(rotation, rng.normal(0, 0.1, 4))
    attribute = {"pedestrian": "pedestrian.moving", "car": "vehicle.moving", "truck": "vehicle.parked"}.get(name, "")
    return {
        "translation": np.add(place, rng.normal(0, 0.7, 3)).tolist(),
        "size": (np.array(size) * rng.uniform(0.8, 1.2, 3)).tolist(),
        "rotation": (turned / np.linalg.norm(turned)).tolist(),
        "velocity": rng.normal(0, 2, 2).tolist(),
        "detection_name": name,
        "detection_score": round(float(rng.uniform(0.01, 1)), 6),
        "attribute_name": attribute,
    }


def benchmark(kit: NuScenes, path: Path, out: Path) -> dict[str, Any]:
    evaluation = DetectionEval(kit, config_factory("detection_cvpr_2019"), str(path), "mini_val", str(out), False)
    metrics, _ = evaluation.evaluate()
    figures: dict[str, Any] = metrics.serialize()
    return figures


@pytest.mark.parametrize("seed", range(3))
def test_figures_are_those_of_the_development_kit(
    kit: NuScenes, root: Path, tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results_for(kit, ("scene-0103", "scene-0916"), seed)))
    theirs = benchmark(kit, path, tmp_path / "kit")
    words = ["evaluate", str(path), "--truth", str(root), "--protocol", "nuscenes", "--absent-as-zero", "--json"]
    assert main([*words, "--split", "mini_val"]) == 0
    ours = json.loads(capsys.readouterr().out)
    assert ours["pairs"] == {"answered": 2 * SAMPLES, "unanswered": 0, "without_truth": 0, "rejected": {}}
    assert 0.05 < theirs["mean_ap"] < 0.9 and theirs["nd_score"] > 0.05
    assert ours["map"]["all"] == pytest.approx(theirs["mean_ap"], abs=1e-9)
    assert ours["nds"] == pytest.approx(theirs["nd_score"], abs=1e-6)
    for name, each in ours["classes"].items():
        assert each["ap"] == pytest.approx(theirs["mean_dist_aps"][name], abs=1e-9), name
        for error, value in each["errors"].items():
            if value is not None:
                assert value == pytest.approx(theirs["label_tp_errors"][name][SHOWN[error]], abs=1e-6), (name, error)
    # Without a split, the scenes count of which there are results: the same ones here.
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)["map"] == ours["map"]


def test_racks_and_points_take_boxes_out(kit: NuScenes, root: Path) -> None:
    """What the test above would not show if nothing stood in the racks, or every box held points."""
    truth = NuScenesTruth(open_folder(root), ["scene-0103"])
    frames = list(truth.frames())
    assert len(frames) == SAMPLES and all(len(frame.racks) for frame in frames)
    boxes = {frame.token: frame.labels for frame in frames}
    for sample in (row for row in kit.sample if row["token"] in boxes):
        labels = boxes[sample["token"]]
        records = {
            record["instance_token"]: record for record in (kit.get("sample_annotation", key) for key in sample["anns"])
        }
        assert set(labels.track_ids) == set(records)
        for identity, points, attribute in zip(labels.track_ids, labels.lidar_points, labels.attributes, strict=True):
            record = records[identity]
            assert points == record["num_lidar_pts"] + record["num_radar_pts"]
            names = [kit.get("attribute", key)["name"] for key in record["attribute_tokens"]]
            assert attribute == (names[0] if names else "")
    assert any((labels.lidar_points == 0).any() for labels in boxes.values())


def test_scenes_without_results_are_missed(
    kit: NuScenes, root: Path, tmp_path: Path, answer: Callable[..., Any]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results_for(kit, ("scene-0103",))))
    counts = answer("evaluate", path, "--truth", root, "--protocol", "nuscenes", "--scenes", "scene-0103,scene-0061")
    assert counts["pairs"]["answered"] == counts["pairs"]["unanswered"] == SAMPLES
    counts = answer("evaluate", path, "--truth", root / "v1.0-mini", "--protocol", "nuscenes")
    assert (counts["pairs"]["answered"], counts["pairs"]["unanswered"]) == (SAMPLES, 0)
    counts = answer("evaluate", path, "--truth", root, "--scenes", "scene-0103", "--classes", "nuscenes")
    assert counts["pairs"]["answered"] == SAMPLES


@pytest.fixture
def answer(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    def run(*words: object) -> Any:
        assert main([*map(str, words), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    assert main([*map(str, words)]) == 2
    return capsys.readouterr().err


def test_what_does_not_go_together_is_refused(
    kit: NuScenes, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results_for(kit, ("scene-0103",))))
    evaluate = ["evaluate", path, "--truth", root]
    assert "no such split" in refusal(capsys, *evaluate, "--split", "valid")
    assert "none of its scenes" in refusal(capsys, *evaluate, "--split", "test")
    assert "results file already" in refusal(capsys, *evaluate, "--results", tmp_path / "again.json")
    assert "--split is of a data set's folder" in refusal(
        capsys, "evaluate", path, "--truth", tmp_path / "none.mcap", "--split", "val"
    )
    assert "give the bag that was imported" in refusal(capsys, "evaluate", tmp_path / "d.mcap", "--truth", root)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "object is expected"),
        ("[]", "object is expected"),
        ("{}", "no 'results'"),
        ('{"meta": {}, "results": []}', "object is expected"),
        ('{"results": {"a": 3}}', "no list"),
        ('{"results": {"a": [}}', "is no nuScenes results file"),
        ('{"results": {"a": []', "is no nuScenes results file"),
    ],
)
def test_what_is_no_results_file_is_refused(tmp_path: Path, content: str, told: str) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ConfigurationError, match=told):
        NuScenesResults(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"translation": [1.0, 2.0]}, "3, 3 and 4"),
        ({"size": [1.0, float("nan"), 2.0]}, "3, 3 and 4"),
        ({"rotation": None}, ""),
        ({"detection_score": 1.5}, "not in"),
        ({"detection_name": ...}, "no 'detection_name'"),
    ],
)
def test_an_entry_that_is_no_box_is_counted_and_left_out(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    good = entry(np.random.default_rng(0), [1.0, 2.0, 0.0], [1.0, 2.0, 1.5], [1.0, 0.0, 0.0, 0.0], None)
    bad = {key: value for key, value in (good | changes).items() if value is not ...}
    (tmp_path / "r.json").write_text(json.dumps({"results": {"a": [good, bad, good], "b": []}}))
    results = NuScenesResults(tmp_path / "r.json")
    (fault,) = results.faults
    assert fault.count == 1 and told in fault.text and "entry 1" in fault.text
    assert set(results.tokens) == {"a", "b"}


def test_splits_are_those_of_the_development_kit() -> None:
    ours = yaml.safe_load(shipped_file("splits", "nuscenes").read_text())
    theirs = create_splits_scenes()
    for name, numbers in ours.items():
        assert {f"scene-{number:04d}" for number in numbers} == set(theirs[name]) and len(numbers) == len(theirs[name])
    assert {"train", "val", "test", "mini_train", "mini_val"} == set(ours)


def test_results_of_a_bag_read_back_give_the_same_figures(
    root: Path, tmp_path: Path, answer: Callable[..., Any]
) -> None:
    """Detections of an imported scene, written as a results file, held against the bag and against the tables."""
    source = tmp_path / "in"
    Drive(scenes=1, samples=5, objects=30, sweeps=False, numbers=(103,)).write(source)
    bag = tmp_path / "scene.mcap"
    answer("import", "nuscenes", source, bag)
    detections = detected(bag, tmp_path / "found.mcap")
    words = ["--truth", bag, "--protocol", "nuscenes"]
    first = answer("evaluate", detections, *words, "--results", tmp_path / "r.json")
    assert first["results"] == {"samples": 5, "named_by_data_set": 5, "named_by_stamp": 0}
    assert set(json.loads((tmp_path / "r.json").read_text())["results"]) == {
        token("sample", "scene-0103", number) for number in range(5)
    }
    again = answer("evaluate", tmp_path / "r.json", *words)
    assert again["pairs"]["answered"] == 5
    assert 0.1 < first["map"]["all"] == pytest.approx(again["map"]["all"], abs=1e-6)
    tables = answer("evaluate", tmp_path / "r.json", "--truth", source, "--protocol", "nuscenes")
    # A few boxes at the rim are within range of the camera's place, and not of the LiDAR's 35 ms later.
    assert tables["map"]["all"] == pytest.approx(first["map"]["all"], abs=0.05)


def test_results_of_a_test_split_are_written_without_truth(
    tmp_path: Path, answer: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    drive = Drive(scenes=1, samples=4, objects=20, sweeps=False, files=1, numbers=(77,))
    drive.write(tmp_path / "labelled")
    unlabelled = Drive(scenes=1, samples=4, truth=False, sweeps=False, numbers=(77,), version="v1.0-test")
    unlabelled.write(tmp_path / "in")
    for name in ("labelled", "in"):
        answer("import", "nuscenes", tmp_path / name, tmp_path / f"{name}.mcap")
    detections = detected(tmp_path / "labelled.mcap", tmp_path / "found.mcap")
    truth, protocol = tmp_path / "in.mcap", ["--protocol", "nuscenes"]
    told = answer("evaluate", detections, "--truth", truth, *protocol, "--results", tmp_path / "r.json")
    assert told["results"] == {"samples": 4, "answered": 4}
    truth = tmp_path / "labelled.mcap"
    answer("evaluate", detections, "--truth", truth, *protocol, "--results", tmp_path / "l.json")
    assert json.loads((tmp_path / "r.json").read_text()) == json.loads((tmp_path / "l.json").read_text())
    assert "no ground truth" in refusal(capsys, "evaluate", detections, "--truth", tmp_path / "in.mcap", *protocol)


def detected(bag: Path, out: Path) -> Path:
    """A bag of detections near the truth of another."""
    from semlt3d_ros.bags.sink import BagSink
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.core.classes import load_class_list
    from semlt3d_ros.core.detections import Detections
    from semlt3d_ros.core.label_map import columns_for
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.decode import decode_labels
    from semlt3d_ros.messages.encode import encode_long_tail

    classes, rng = load_class_list("nuscenes"), np.random.default_rng(3)
    with BagSource(bag) as source, BagSink(out) as sink:
        for item in source.messages([topics.TRUTH_LONG_TAIL]):
            labels, stamp = decode_labels(item.message())
            labels = labels.as_classes(columns_for(labels.class_names, classes), classes.names)
            labels = labels[labels.class_ids >= 0]
            labels.boxes.centers += rng.normal(0, 0.5, labels.boxes.centers.shape)
            confidences = np.eye(len(classes), dtype=np.float32)[labels.class_ids]
            confidences *= rng.uniform(0.1, 0.9, (len(confidences), 1)).astype(np.float32)
            found = Detections(stamp, labels.boxes, confidences, classes.names)
            sink.write(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, encode_long_tail(found, "base_link"), stamp)
    return out
