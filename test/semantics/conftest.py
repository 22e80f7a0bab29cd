"""A small CLIP with random weights, in the forms open_clip takes, and a real language space."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25], "interpolation": "bicubic", "resize_mode": "squash"}


@pytest.fixture(scope="session")
def small_clip(tmp_path_factory):
    """A folder in open_clip's ``local-dir:`` layout; its weights file also serves the registered model of its name."""
    import open_clip
    from safetensors.torch import save_file

    torch.manual_seed(3)
    folder = tmp_path_factory.mktemp("clips") / "semlt3d-test-clip"
    folder.mkdir()
    model = open_clip.CLIP(**SMALL)
    save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": SMALL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    registered = folder.parent / "configs" / "semlt3d-test-clip.json"
    registered.parent.mkdir()
    registered.write_text(json.dumps(SMALL))
    open_clip.add_model_config(registered)
    return folder


@pytest.fixture(scope="session")
def small_encoder(small_clip):
    from semlt3d_ros.semantics.clip import ClipEncoder

    return ClipEncoder.load(str(small_clip))


@pytest.fixture(scope="session")
def tiny_encoder():
    """The CLIP that comes with the package."""
    from semlt3d_ros.semantics.clip import ClipEncoder

    return ClipEncoder.load("tiny")


@pytest.fixture(scope="session")
def language_space():
    """Real CLIP ViT-B/32 text embeddings by name: {"lvis": {name: (512,) float16}, "o365": ...}."""
    folder = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "clip_text"
    if not folder.is_dir():
        pytest.skip("../shared/data/clip_text (CLIP's text embeddings) is not here")
    files = {"lvis": "lvis_v1_clip_a+cname.npy", "o365": "o365_clip_a+cnamefix.npy"}
    return {
        key: dict(zip(json.loads((folder / f"{key}_names.json").read_text()), np.load(folder / file), strict=True))
        for key, file in files.items()
    }


class CountingEncoder:
    """An encoder that counts what it is asked for; every text and image has its own direction."""

    dimension = 8

    def __init__(self, identity="counting@0"):
        self.identity = identity
        self.texts, self.images = 0, 0

    def encode_text(self, texts):
        self.texts += len(texts)
        return self._directions([text.encode() for text in texts])

    def encode_images(self, images):
        self.images += len(images)
        return self._directions([np.ascontiguousarray(image).tobytes() for image in images])

    def _directions(self, contents):
        rows = [np.random.default_rng(list(content[:4096])).normal(size=self.dimension) for content in contents]
        rows = np.array(rows, np.float32).reshape(-1, self.dimension)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def counting():
    return CountingEncoder
