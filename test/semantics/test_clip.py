import shutil
import urllib.error

import numpy as np
import pytest
import torch

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.semantics.clip import ClipEncoder

RNG = np.random.default_rng(5)
IMAGES = [RNG.integers(0, 256, (*shape, 3), np.uint8) for shape in ((32, 32), (48, 48), (20, 64), (1, 1))]
TEXTS = ["a photo of a car.", "traffic cone", "Ein Lkw"]


def test_embeddings_are_what_open_clip_gives(small_clip, small_encoder):
    import open_clip
    from PIL import Image

    model, preprocess = open_clip.create_model_from_pretrained(f"local-dir:{small_clip}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{small_clip}")
    with torch.no_grad():
        texts = model.encode_text(tokenizer(TEXTS), normalize=True).numpy()
        images = model.encode_image(torch.stack([preprocess(Image.fromarray(i)) for i in IMAGES]), normalize=True)
    np.testing.assert_allclose(small_encoder.encode_text(TEXTS), texts, atol=1e-6)
    np.testing.assert_allclose(small_encoder.encode_images(IMAGES), images.numpy(), atol=1e-6)
    assert small_encoder.logit_scale == pytest.approx(float(model.logit_scale.detach().exp()))
    assert small_encoder.dimension == 24


def test_rows_have_unit_length_and_do_not_depend_on_their_company(small_encoder):
    many = small_encoder.encode_images([IMAGES[k % len(IMAGES)] for k in range(70)])
    assert many.dtype == np.float32 and many.shape == (70, 24)
    np.testing.assert_allclose(np.linalg.norm(many, axis=1), 1.0, atol=1e-5)
    np.testing.assert_allclose(many[:1], small_encoder.encode_images(IMAGES[:1]), atol=1e-5)
    assert small_encoder.encode_images([]).shape == (0, 24)
    assert small_encoder.encode_text([]).shape == (0, 24)


def test_one_identity_for_one_set_of_weights(small_clip, small_encoder):
    by_path = ClipEncoder.load("semlt3d-test-clip", small_clip / "open_clip_model.safetensors")
    assert by_path.identity == small_encoder.identity
    assert by_path.identity.startswith("semlt3d-test-clip@")
    np.testing.assert_allclose(by_path.encode_text(TEXTS), small_encoder.encode_text(TEXTS), atol=1e-6)


def test_other_weights_have_another_identity(small_clip, small_encoder, tmp_path):
    from safetensors.torch import load_file, save_file

    tensors = load_file(small_clip / "open_clip_model.safetensors")
    tensors["logit_scale"] += 0.5
    save_file(tensors, tmp_path / "other.safetensors")
    other = ClipEncoder.load("semlt3d-test-clip", tmp_path / "other.safetensors")
    assert other.identity != small_encoder.identity
    assert other.logit_scale > small_encoder.logit_scale


def test_an_unknown_model_names_near_ones():
    with pytest.raises(ConfigurationError, match=r"open_clip knows no model 'ViT-B-33'; did you mean .*ViT-B-32"):
        ClipEncoder.load("ViT-B-33", "openai")


def test_an_unknown_tag_names_those_there_are():
    with pytest.raises(ConfigurationError, match=r"no weights 'nonsense' for 'ViT-B-32'; use one of openai, .*tiny"):
        ClipEncoder.load("ViT-B-32", "nonsense")


def test_no_weights_named_names_the_options():
    with pytest.raises(ConfigurationError, match=r"needs weights.*openai.*network.*path.*'tiny'"):
        ClipEncoder.load("ViT-B-32")


def test_an_absent_path_is_told_from_a_tag(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.pt' do not exist"):
        ClipEncoder.load("ViT-B-32", tmp_path / "none.pt")


def test_without_a_network_the_options_are_named(monkeypatch):
    import open_clip

    def offline(*_, **__):
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", offline)
    with pytest.raises(ConfigurationError, match=r"name resolution.*without a network.*path.*'tiny'"):
        ClipEncoder.load("ViT-B-32", "openai")
    monkeypatch.setattr(open_clip.factory, "download_pretrained_from_hf", offline)
    with pytest.raises(ConfigurationError, match=r"'hf-hub:some/clip' cannot be loaded.*'tiny'"):
        ClipEncoder.load("hf-hub:some/clip")


@pytest.mark.parametrize("damage", ["cut", "noise", "other model"])
def test_damaged_weights_are_refused(small_clip, tmp_path, damage):
    from safetensors.torch import save_file

    path = tmp_path / "weights.safetensors"
    shutil.copy(small_clip / "open_clip_model.safetensors", path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-1000])
    elif damage == "noise":
        path.write_bytes(b"\xff" * 1000)
    else:
        save_file({"logit_scale": torch.zeros(())}, path)
    with pytest.raises(ConfigurationError, match="the file is damaged or of another model"):
        ClipEncoder.load("semlt3d-test-clip", path)


def test_a_folder_that_is_no_clip_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"cannot be loaded.*config file missing"):
        ClipEncoder.load(str(tmp_path))


@pytest.mark.parametrize("damage", ["absent", "cut", "noise", "student", "config"])
def test_a_damaged_tiny_clip_is_refused(tmp_path, damage):
    from safetensors.torch import load_file, save_file

    from semlt3d_ros.semantics.clip import FILE_ENTRY, default_tiny

    path = tmp_path / "tiny.safetensors"
    content = default_tiny().read_bytes()
    if damage == "cut":
        path.write_bytes(content[:-5000])
    elif damage == "noise":
        path.write_bytes(b"\xff" * 1000)
    elif damage == "student":
        save_file({"weight": torch.zeros(2)}, path)
    elif damage == "config":
        header = '{"format": 1, "name": "tiny", "config": {"model_cfg": {}, "preprocess_cfg": {}}, "provenance": {}}'
        save_file(load_file(default_tiny()), path, {FILE_ENTRY: header})
    says = {"absent": "do not exist; train them with 'semlt3d train-clip", "config": "is damaged"}
    with pytest.raises(ConfigurationError, match=says.get(damage, "is not a readable CLIP of this package")):
        ClipEncoder.load("tiny", path)


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_prompt_is_refused(small_encoder, text):
    with pytest.raises(ConfigurationError, match="a prompt is empty"):
        small_encoder.encode_text(["a car", text])


def test_a_prompt_longer_than_the_model_reads_is_refused(small_encoder):
    with pytest.raises(ConfigurationError, match=r"has 22 tokens, and 'semlt3d-test-clip@\w+' reads 16; shorten it"):
        small_encoder.encode_text(["car " * 20])


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.full((4, 4, 3), np.nan, np.float32),
    ],
)
def test_degenerate_images_are_refused(small_encoder, image):
    with pytest.raises(InputRejected, match="is not \\(H, W, 3\\) uint8") as caught:
        small_encoder.encode_images([IMAGES[0], image])
    assert caught.value.reason == "region"


def test_missing_open_clip_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'semlt3d_ros\[language\]'"):
        ClipEncoder.load("ViT-B-32", "openai")
