"""A class list of one's own, from the recipe to the live node and back: three classes, and a fourth by its name."""

import pytest
import yaml

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.checkpoints.checkpoint import read_classes, read_header
from semlt3d_ros.cli import main
from semlt3d_ros.commands.live_run import record_live_run
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.messages import topics

NAMES = ["car", "person", "cone"]
CLASSES = """
name: yard
classes:
  - {name: car, superclass: vehicle, range_m: 60}
  - {name: person, superclass: pedestrian, words: adult}
  - {name: cone, range_m: 30, words: traffic cone}
"""
LABEL_MAP = """
source: lt3d
target: yard
classes: {car: car, truck: car, adult: person, child: person, construction_worker: person, traffic_cone: cone}
"""
RECIPE = """
name: yard
data_folder: {folder}/data
classes: {folder}/yard.yaml
train:
  - simulate: {{first_seed: 500, drives: 1, frames: 2, drives_per_shard: 1, image_size: [112, 64], top_crop: 0.25}}
    label_map: {folder}/to_yard.yaml
validation:
  - simulate: {{first_seed: 3, drives: 1, frames: 1, image_size: [112, 64], top_crop: 0.25}}
    label_map: {folder}/to_yard.yaml
student:
  image_width: 112
  image_height: 48
  backbone_args: {{channels: [8, 16, 24, 32], stem_width: 8}}
  width: 32
  feed_forward: 48
  anchors: 16
  proposals: 8
  depth_bins: 8
  block: language_experts
  language_width: 64
  language_share: 0.5
loss_weights: {{distillation: 0.0}}
schedule: {{frames: 6, batch: 2, save_every: 100, evaluate_every: 0}}
min_visible_pixels: 0
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with class list, label map, recipe, and a checkpoint that was trained for three steps."""
    folder = tmp_path_factory.mktemp("yard")
    for name, text in (("yard.yaml", CLASSES), ("to_yard.yaml", LABEL_MAP), ("recipe.yaml", RECIPE)):
        (folder / name).write_text(text.format(folder=folder) if name == "recipe.yaml" else text)
    assert main(["train", str(folder / "recipe.yaml"), "--out", str(folder / "yard.safetensors")]) == 0
    return folder


@pytest.fixture(scope="module")
def live(trained, drive):
    """What the node publishes of the drive with it, over DDS, both in processes of their own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE", "CYCLONEDDS_URI"):
            patch.setenv(name, "")
        options = ["-p", f"checkpoint:={trained / 'yard.safetensors'}", "-p", "score_threshold:=0.0"]
        record_live_run(drive, trained / "live.mcap", 1.0, options, 4, lambda done, of: None)
    return trained / "live.mcap"


def test_the_checkpoint_carries_the_list(trained):
    checkpoint = trained / "yard.safetensors"
    assert read_classes(checkpoint) == load_class_list(trained / "yard.yaml")
    header = read_header(checkpoint)
    assert header["config"]["class_names"] == NAMES and len(header["calibration"]["scale"]) == 3
    assert "a adult on the road." in header["language"]["prompts"]


def test_live_everything_has_three_classes(live):
    with BagSource(live) as source:
        published = {topic: [] for topic in (topics.LONG_TAIL, topics.LABEL_INFO, topics.MARKERS)}
        for entry in source.messages(topics=list(published)):
            published[entry.topic].append(entry.message())
    assert published[topics.LONG_TAIL]
    for message in published[topics.LONG_TAIL]:
        assert message.class_names == NAMES
        assert all(len(item.class_confidences) == 3 and item.class_name in NAMES for item in message.detections)
        assert {item.group for item in message.detections} <= {""}
    assert [each.class_name for each in published[topics.LABEL_INFO][-1].class_map] == NAMES
    found = sum(len(message.detections) for message in published[topics.LONG_TAIL])
    assert found > 0
    markers = [marker for message in published[topics.MARKERS] for marker in message.markers if marker.ns == "names"]
    assert all(marker.text.split()[0] in NAMES for marker in markers)


def test_it_is_drawn(trained, live, drive, capsys):
    picture = trained / "yard.rrd"
    assert main(["view", str(drive), str(live), "--save", str(picture)]) == 0 and picture.stat().st_size > 1000
    assert "4 frames in" in capsys.readouterr().out


def test_it_is_evaluated(trained, live, drive, answer):
    figures = answer("evaluate", live, "--truth", drive, "--label-map", trained / "to_yard.yaml")
    assert list(figures["classes"]) == NAMES and figures["map"].keys() == {"all"}
    assert figures["unknown_classes"] == [] and sum(each["truth"] for each in figures["classes"].values()) > 0
    ranges = answer(
        *("evaluate", live, "--truth", drive, "--label-map", trained / "to_yard.yaml"),
        *("--classes", trained / "yard.yaml", "--out", trained / "evaluation"),
    )["settings"]["protocol"]["classes"]
    assert ranges["car"]["range_m"] == 60 and (trained / "evaluation" / "report.json").is_file()


def test_it_is_calibrated_in_its_classes(trained, answer):
    again = trained / "again.safetensors"
    result = answer("calibrate", trained / "yard.safetensors", trained / "recipe.yaml", "-o", again)
    assert result["checkpoint"] == str(again)
    assert read_classes(again) == read_classes(trained / "yard.safetensors")
    assert len(read_header(again)["calibration"]["scale"]) == 3


def test_a_fourth_class_comes_by_its_name(trained, drive, tmp_path):
    anchors, out = tmp_path / "tram.safetensors", tmp_path / "four.mcap"
    assert main(["anchors", "bus", "-o", str(anchors)]) == 0
    words = ["--checkpoint", str(trained / "yard.safetensors"), "--vocabulary", str(anchors)]
    assert main(["detect", str(drive), "-o", str(out), *words]) == 0
    with BagSource(out) as source:
        messages = [entry.message() for entry in source.messages(topics=[topics.LONG_TAIL])]
    assert [message.class_names for message in messages] == [[*NAMES, "bus"]] * 4


def test_classes_that_no_label_leads_to_are_told_before_anything_is_learnt(trained, refusal):
    recipe = yaml.safe_load((trained / "recipe.yaml").read_text())
    (trained / "trees.yaml").write_text("name: trees\nclasses: [{name: oak}, {name: elm}]\n")
    recipe["classes"] = str(trained / "trees.yaml")
    for source in (*recipe["train"], *recipe["validation"]):
        del source["label_map"]
    (trained / "trees_recipe.yaml").write_text(yaml.safe_dump(recipe))
    line = refusal("train", trained / "trees_recipe.yaml", "--out", trained / "trees.safetensors")
    assert "none of the labels car" in line and "oak, elm" in line
