"""Any CLIP that open_clip knows, or the tiny one that comes with the package, behind two functions on NumPy arrays."""

from __future__ import annotations

import difflib
import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.tensor_file import read_tensor_file

TINY = "tiny"
"""Name of the CLIP that comes with the package; it knows the simulated world and nothing else."""
FILE_ENTRY = "semlt3d_clip"
FILE_FORMAT = 1
_BATCH = 64
_OTHERWISE = f"a path to its weights on this machine, or the model '{TINY}' that comes with this package"


class ClipEncoder:
    """A CLIP for inference. Build it with ``load``.

    Attributes:
        identity: ``"<name>@<first ten digits of the weights' SHA-256>"``.
        dimension: d, the width of the space that images and texts share.
        logit_scale: the model's own inverse temperature: softmax(``logit_scale`` * cosines) is what it was trained on.
        image_size: S, the side in pixels of the square images that it looks at.
    """

    def __init__(self, model: Any, preprocess: Any, tokenizer: Any, name: str, device: str = "cpu") -> None:
        self._model = model.eval().to(device)
        self._preprocess, self._tokenizer, self._device = preprocess, tokenizer, device
        self._normalise = preprocess.transforms[-1]  # open_clip's transforms end with it
        self.identity = f"{name}@{_digest(model)}"
        self.logit_scale = float(model.logit_scale.detach().exp())
        self.dimension = int(self._text_features(["x"]).shape[1])
        size = model.visual.image_size
        self.image_size = int(size if isinstance(size, int) else size[0])
        # Channels last makes convolutions a third faster on a CPU; it is a matter of layout alone.
        model.visual.to(memory_format=torch.channels_last)

    @classmethod
    def load(cls, model: str, pretrained: str | Path | None = None, device: str = "cpu") -> ClipEncoder:
        """A CLIP with its weights.

        Args:
            model: an open_clip model name, a folder or hub entry in open_clip's notation (``local-dir:``, ``hf-hub:``),
                or ``tiny``.
            pretrained: an open_clip tag, downloaded unless open_clip has it in its cache, or a path to weights;
                for ``tiny`` a file that ``semlt3d train-clip`` wrote, if not the one of the package.
            device: where it runs.

        Raises:
            ConfigurationError: open_clip is not installed, does not know the model or the tag, no weights are named or
                at hand, or they are damaged or of another model.
        """
        if model == TINY:
            return load_file(default_tiny() if pretrained is None else Path(pretrained), device)
        open_clip = import_open_clip()
        if Path(model).is_dir():
            model = f"local-dir:{model}"
        schema, name = open_clip.factory.parse_model_name(model)
        weights = None if schema else _checked_weights(open_clip, name.replace("/", "-"), pretrained)
        with _quiet(), _explained(model, weights):
            network, preprocess = open_clip.create_model_from_pretrained(model, pretrained=weights, device=device)
            tokenizer = open_clip.get_tokenizer(model)
        return cls(network, preprocess, tokenizer, name.rstrip("/").split("/")[-1], device)

    def encode_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings (n, d) float32 of unit length.

        Raises:
            ConfigurationError: a text is empty, or longer than the model reads.
        """
        for text in texts:
            if not text.strip():
                raise ConfigurationError("a prompt is empty; write what to look for, such as 'a car'")
            self._check_length(text)
        return self._collected([self._text_features(part) for part in _parts(list(texts))])

    def encode_images(self, images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeddings (n, d) float32 of unit length of RGB images (H, W, 3) uint8 of any size.

        Raises:
            InputRejected: ``region``: an image has no pixels, or another shape or type.
        """
        for image in images:
            if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
                raise InputRejected(
                    "region", f"an image of shape {image.shape} and type {image.dtype} is not (H, W, 3) uint8"
                )
        return self._collected([self._image_features(part) for part in _parts(list(images))])

    def encode_crops(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeddings (n, d) float32 of unit length of RGB crops (n, S, S, 3) uint8, all at once.

        The same as ``encode_images`` for images that have the model's size already, without the detour over Pillow.
        """
        if not len(crops):
            return np.zeros((0, self.dimension), np.float32)
        images = torch.from_numpy(crops).to(self._device).permute(0, 3, 1, 2).float() / 255.0
        gpu = images.device.type == "cuda"
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=gpu):
            looks = self._model.encode_image(self._normalise(images), normalize=True)
        return looks.float().cpu().numpy()

    def move_to(self, device: str) -> None:
        """Move the weights to ``"cpu"`` or ``"cuda[:N]"``."""
        self._model.to(device)
        self._device = device

    def unknown_words(self, text: str) -> tuple[str, ...]:
        """Words of a text that the model never saw in training, as far as it can tell.

        The tiny CLIP knows the words of its captions only; the others were trained on everything, and nothing is said.
        """
        embedding = getattr(self._model, "token_embedding", None)
        if embedding is None or not hasattr(self._tokenizer, "encode"):
            return ()
        blank = (embedding.weight == 0).all(dim=1)
        words = re.findall(r"\w+", text.lower())
        return tuple(word for word in words if bool(blank[self._tokenizer.encode(word)].all()))

    def _check_length(self, text: str) -> None:
        length = getattr(self._tokenizer, "context_length", None)
        if length is None or not hasattr(self._tokenizer, "encode"):
            return  # tokenizers of other kinds cut, and do not tell
        tokens = len(self._tokenizer.encode(text)) + 2
        if tokens > length:
            raise ConfigurationError(
                f"prompt '{text}' has {tokens} tokens, and '{self.identity}' reads {length}; shorten it"
            )

    @torch.no_grad()
    def _text_features(self, texts: list[str]) -> Tensor:
        return self._model.encode_text(self._tokenizer(texts).to(self._device), normalize=True)

    @torch.no_grad()
    def _image_features(self, images: list[NDArray[np.uint8]]) -> Tensor:
        from PIL import Image

        batch = torch.stack([self._preprocess(Image.fromarray(image)) for image in images])
        return self._model.encode_image(batch.to(self._device), normalize=True)

    def _collected(self, parts: list[Tensor]) -> NDArray[np.float32]:
        if not parts:
            return np.zeros((0, self.dimension), np.float32)
        return torch.cat(parts).float().cpu().numpy()


def import_open_clip() -> Any:
    """open_clip, or an error that says how to get it.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import open_clip
    except ImportError as error:
        raise ConfigurationError(
            "the language side needs open_clip; install it with: pip install 'semlt3d_ros[language]'"
        ) from error
    return open_clip


def default_tiny() -> Path:
    """The weights of the tiny CLIP that comes with the package."""
    return Path(__file__).resolve().parents[1] / "weights" / "tiny_clip.safetensors"


def read_file_header(path: Path) -> dict[str, Any]:
    """Header of a CLIP in one file: its name, open_clip config, and where it comes from.

    Raises:
        ConfigurationError: the file is absent, damaged, or not a CLIP that ``semlt3d train-clip`` wrote.
    """
    return _read_file(path)[1]


def load_file(path: Path, device: str = "cpu") -> ClipEncoder:
    """A CLIP that brings its open_clip config along in one safetensors file, as ``semlt3d train-clip`` writes it.

    Raises:
        ConfigurationError: the file is absent or damaged, or open_clip is not installed.
    """
    tensors, header = _read_file(path)
    try:
        model, preprocess, tokenizer = build(header["config"])
        model.load_state_dict({key: value.float() for key, value in tensors.items()})
    except (KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise ConfigurationError(
            f"CLIP '{path}' is damaged ({reason}); train it again with 'semlt3d train-clip RECIPE'"
        ) from error
    return ClipEncoder(model, preprocess, tokenizer, str(header["name"]), device)


def _read_file(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors in a CLIP's file, and its header."""
    if not path.is_file():
        raise ConfigurationError(f"CLIP weights '{path}' do not exist; train them with 'semlt3d train-clip RECIPE'")
    try:
        content, metadata = read_tensor_file(path)
        tensors = load(content)
        header = json.loads(metadata[FILE_ENTRY])
        number = header["format"]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(
            f"'{path}' is not a readable CLIP of this package ({error}); train one with 'semlt3d train-clip RECIPE'"
        ) from error
    if number != FILE_FORMAT:
        raise ConfigurationError(f"CLIP '{path}' has format {number}; this version reads format {FILE_FORMAT}")
    return tensors, dict(header)


def build(config: dict[str, Any]) -> tuple[Any, Any, Any]:
    """A CLIP with random weights, its image transform and its tokenizer, of what open_clip has in its own config files.

    Args:
        config: ``model_cfg`` and ``preprocess_cfg``, as in ``open_clip_config.json``.
    """
    open_clip = import_open_clip()
    model = open_clip.CLIP(**config["model_cfg"])
    settings = open_clip.transform.PreprocessCfg(size=model.visual.image_size, **config["preprocess_cfg"])
    transform = open_clip.transform.image_transform_v2(settings, is_train=False)
    return model, transform, open_clip.SimpleTokenizer(context_length=model.context_length)


def _checked_weights(open_clip: Any, name: str, pretrained: str | Path | None) -> str:
    models = open_clip.list_models()
    if name not in models:
        close = difflib.get_close_matches(name, [*models, TINY], n=3) or models[:3]
        raise ConfigurationError(
            f"open_clip knows no model '{name}'; did you mean {', '.join(close)}? (open_clip.list_models() has all "
            f"{len(models)}; '{TINY}' comes with this package)"
        )
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is None:
        raise ConfigurationError(
            f"CLIP '{name}' needs weights; name one of open_clip's tags ({', '.join(tags) or 'there are none'}), which "
            f"takes a network, {_OTHERWISE}"
        )
    if Path(pretrained).is_file() or open_clip.get_pretrained_cfg(name, str(pretrained)):
        return str(pretrained)
    if len(Path(pretrained).parts) > 1 or Path(pretrained).suffix:
        raise ConfigurationError(f"CLIP weights '{pretrained}' do not exist; give an existing file or one of {tags}")
    raise ConfigurationError(
        f"open_clip has no weights '{pretrained}' for '{name}'; use one of {', '.join(tags) or '(no tags)'}, or "
        f"{_OTHERWISE}"
    )


@contextmanager
def _explained(model: str, weights: str | None) -> Iterator[None]:
    """Turn whatever open_clip stumbles over into one line that names the ways out."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        named = f"CLIP '{model}'" + (f" with weights '{weights}'" if weights else "")
        if weights and Path(weights).is_file():
            raise ConfigurationError(f"{named}: the file is damaged or of another model ({reason})") from error
        raise ConfigurationError(
            f"{named} cannot be loaded ({reason}); without a network use weights that open_clip has in its cache, "
            f"{_OTHERWISE}"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from logging what is raised anyway."""
    root = logging.getLogger()
    before = root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


def _digest(model: Any) -> str:
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:10]


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    for start in range(0, len(items), _BATCH):
        yield items[start : start + _BATCH]
