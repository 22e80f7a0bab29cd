import json

import pytest

from semlt3d_ros.cli import main
from semlt3d_ros.semantics.anchors import load_anchors


def test_anchors_are_written_and_compared(tmp_path, capsys):
    out = tmp_path / "a" / "anchors.safetensors"
    assert main(["anchors", "police car", "pram", "baby_carriage", "-o", str(out)]) == 0
    shown = capsys.readouterr()
    assert load_anchors(out).names == ("police car", "pram", "baby_carriage")
    assert "nearest other" in shown.out and str(out) in shown.out
    assert "'pram' and 'baby_carriage' are closer" in shown.err and "than this model can tell apart" in shown.err
    assert "police car" not in shown.err


def test_a_class_can_be_called_otherwise(tmp_path, capsys):
    out = tmp_path / "anchors.safetensors"
    assert main(["anchors", "child=kid", "kid", "child", "-o", str(out)]) == 2  # one name, twice
    assert main(["anchors", "child=kid", "kid", "-o", str(out)]) == 0
    made = load_anchors(out)
    assert made.names == ("child", "kid") and "a kid on the road." in made.prompts
    assert (made.embeddings[0] == made.embeddings[1]).all()
    capsys.readouterr()


def test_all_classes_of_a_list_have_anchors(tmp_path, capsys):
    out, classes = tmp_path / "anchors.safetensors", tmp_path / "own.yaml"
    classes.write_text("name: own\nclasses: [{name: Car, words: bus}, {name: child}]\n")
    assert main(["anchors", "--classes", str(classes), "truck", "-o", str(out)]) == 0
    made = load_anchors(out)
    assert made.names == ("Car", "child", "truck") and "a bus on the road." in made.prompts
    assert main(["anchors", "--classes", "nuscenes", "-o", str(out)]) == 0
    assert len(load_anchors(out).names) == 10
    capsys.readouterr()
    assert main(["anchors", "-o", str(out)]) == 2 and "name at least one" in capsys.readouterr().err


def test_words_the_model_never_saw_are_told(tmp_path, capsys):
    out = tmp_path / "anchors.safetensors"
    assert main(["anchors", "bus", "giraffe", "--json", "-o", str(out)]) == 0
    result = json.loads(capsys.readouterr().out)
    assert any("'giraffe': this model never saw 'giraffe'" in warning for warning in result["warnings"])
    assert not any("'bus'" in warning and "never saw" in warning for warning in result["warnings"])
    assert result["dimension"] == 64 and result["source"].startswith("tiny@")
    assert {entry["name"]: entry["nearest"] for entry in result["nearest"]} == {"bus": "giraffe", "giraffe": "bus"}


def test_templates_and_another_clip(tmp_path, capsys, small_clip):
    templates = tmp_path / "templates.txt"
    templates.write_text("a {}\nthe {} ahead\n")
    out = tmp_path / "anchors.safetensors"
    command = ["anchors", "bus", "--model", str(small_clip), "--templates", str(templates), "-o", str(out)]
    assert main(command) == 0
    made = load_anchors(out)
    assert made.prompts == ("a bus", "the bus ahead") and made.dimension == 24
    assert made.source.startswith("semlt3d-test-clip@")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["car", "CAR"], "given more than once"),
        (["car", ""], "a class name is empty"),
        (["car="], "class 'car' has an empty prompt"),
        (["car", "--model", "no-such-clip", "--pretrained", "x"], "knows no model 'no-such-clip'"),
        (["car", "--model", "ViT-B-32"], "needs weights"),
        (["car", "--templates", "/no/such/file"], "cannot be read"),
    ],
)
def test_refusals_are_one_line_and_write_nothing(tmp_path, capsys, arguments, says):
    out = tmp_path / "anchors.safetensors"
    assert main(["anchors", *arguments, "-o", str(out)]) == 2
    errors = capsys.readouterr().err
    assert says in errors and errors.count("\n") == 1
    assert not out.exists()


def test_train_clip_refuses_a_recipe_that_is_not_there(tmp_path, capsys):
    assert main(["train-clip", str(tmp_path / "none.yaml")]) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["anchors", "train-clip"])
def test_help_shows_an_example(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert f"example:\n  semlt3d {command}" in capsys.readouterr().out
