import json
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.semantics.anchors import load_anchors, make_anchors, save_anchors


@pytest.fixture
def stored(tmp_path):
    rows = np.random.default_rng(1).normal(size=(2, 6))
    path = tmp_path / "deep" / "two.safetensors"
    made = LanguageAnchors(("fallen tree", "Großraum-Bus"), rows, ("a tree", "ein Bus"), "clip@12")
    save_anchors(path, made)
    return path, made


def test_a_round_trip_changes_nothing(stored):
    path, made = stored
    loaded = load_anchors(path)
    assert (loaded.names, loaded.prompts, loaded.source) == (made.names, made.prompts, made.source)
    np.testing.assert_allclose(loaded.embeddings, made.embeddings, atol=1e-7)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_loading_needs_neither_torch_nor_open_clip(stored):
    program = f"""
import sys
from pathlib import Path
for name in ("torch", "open_clip", "timm"):
    sys.modules[name] = None
from semlt3d_ros.semantics.anchors import load_anchors
print(load_anchors(Path({str(stored[0])!r})).dimension)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == "6", result.stderr


def test_an_absent_file_tells_how_to_make_one(tmp_path):
    with pytest.raises(ConfigurationError, match=r"do not exist; make them with 'semlt3d anchors NAME"):
        load_anchors(tmp_path / "none.safetensors")


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_file_is_refused(stored, damage):
    path, _ = stored
    content = path.read_bytes()
    path.write_bytes({"cut": content[:-9], "noise": b"\xff" * 200, "empty": b""}[damage])
    with pytest.raises(ConfigurationError, match="is not a readable file of language anchors"):
        load_anchors(path)


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (None, "is not a readable file"),
        ({"format": 1, "names": ["a", "b"]}, "is not a readable file"),
        ({"format": 9, "names": ["a", "b"], "prompts": [], "source": ""}, "format 9"),
        ({"format": 1, "names": ["a", "a"], "prompts": [], "source": ""}, "given more than once"),
        ({"format": 1, "names": ["a"], "prompts": [], "source": ""}, "do not fit 1 names"),
        ({"format": 1, "names": 7, "prompts": [], "source": ""}, "is not a readable file"),
    ],
)
def test_a_file_of_other_content_is_refused_with_its_name(tmp_path, header, says):
    path = tmp_path / "odd.safetensors"
    rows = {"anchors": np.eye(2, 4, dtype=np.float32)}
    save_file(rows, path, None if header is None else {"semlt3d_anchors": json.dumps(header)})
    with pytest.raises(ConfigurationError, match=says) as caught:
        load_anchors(path)
    assert "odd.safetensors" in str(caught.value)


def test_anchors_are_the_mean_direction_of_their_prompts(counting):
    encoder = counting()
    made = make_anchors(encoder, ["traffic_cone", "bus"], ["a {}", "one {} here"])
    assert made.prompts == ("a traffic cone", "one traffic cone here", "a bus", "one bus here")
    assert made.source == encoder.identity
    mean = counting().encode_text(made.prompts[:2]).mean(axis=0)
    np.testing.assert_allclose(made.embeddings[0], mean / np.linalg.norm(mean), atol=1e-6)


def test_the_cache_spares_the_clip_and_heals(counting, tmp_path):
    encoder = counting()
    first = make_anchors(encoder, ["car", "bus"], cache=tmp_path)
    asked = encoder.texts
    again = make_anchors(encoder, ["car", "bus"], cache=tmp_path)
    np.testing.assert_allclose(again.embeddings, first.embeddings, atol=1e-7)
    assert encoder.texts == asked
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(b"broken")
    make_anchors(encoder, ["car", "bus"], cache=tmp_path)
    assert encoder.texts == 2 * asked and load_anchors(kept).names == ("car", "bus")
    make_anchors(counting("other@1"), ["car", "bus"], cache=tmp_path)
    make_anchors(encoder, ["car", "bus"], ["a {}"], cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
