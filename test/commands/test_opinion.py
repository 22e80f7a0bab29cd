"""``semlt3d opinion``: settings from simulated drives and from recordings with ground truth; ``detect`` with them."""

import json
from pathlib import Path

import pytest

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_long_tail
from semlt3d_ros.semantics.opinion_settings import load_opinion_settings
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    path = tmp_path_factory.mktemp("bags") / "drive.mcap"
    simulate(path, DriveConfig(5, frames=2, image_size=(224, 128), class_exponent=0.2), progress=False)
    return path


def test_settings_are_fitted_to_a_recording_and_used(bag: Path, tmp_path: Path, capsys):
    out, answers = tmp_path / "fitted.yaml", tmp_path / "out.mcap"
    assert main(["opinion", str(bag), "-o", str(out), "--json"]) == 0
    fitted, told = load_opinion_settings(out), json.loads(capsys.readouterr().out)
    assert set(fitted.values) == set(fitted.fusion.weights) == set(CLASS_NAMES)
    assert fitted.fitted.boxes > fitted.fitted.hits > 0 and told["fitted"]["boxes"] == fitted.fitted.boxes
    assert (fitted.model, fitted.crops) == ("tiny", load_opinion_settings("tiny").crops)
    assert main(["detect", str(bag), "-o", str(answers), "--second-opinion", str(out)]) == 0
    with BagSource(answers) as source:
        for entry in source.messages([topics.LONG_TAIL]):
            found = decode_long_tail(entry.message())
            assert 0 < found.second_opinion.any(axis=1).sum() <= fitted.crops
            assert found.classifier_confidences.shape == found.confidences.shape


def test_simulated_drives_are_the_default(tmp_path: Path):
    assert main(["opinion", "--drives", "1", "-o", str(tmp_path / "fitted.yaml")]) == 0
    assert load_opinion_settings(tmp_path / "fitted.yaml").fitted.checkpoint.startswith("demo@")


def test_what_cannot_be_fitted_is_told(bag: Path, tmp_path: Path, capsys, recording):
    out = tmp_path / "fitted.yaml"
    unlabelled = recording.of_sets(tmp_path / "plain.mcap", 2)
    for words, options in (
        ("at least one drive", ["--drives", "0"]),
        ("no second opinion file 'huge'", ["--settings", "huge"]),
        ("labelled frames", [str(unlabelled)]),
    ):
        assert main(["opinion", *options, "-o", str(out)]) == 2
        assert words in capsys.readouterr().err and not out.exists()


def test_detect_tells_what_is_wrong_with_an_opinion_before_it_begins(bag: Path, tmp_path: Path, capsys):
    settings = tmp_path / "settings.yaml"
    settings.write_text("crops: -1")
    out = tmp_path / "out.mcap"
    assert main(["detect", str(bag), "-o", str(out), "--second-opinion", str(settings)]) == 2
    assert "crops must be positive" in capsys.readouterr().err and not out.exists()
