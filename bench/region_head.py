"""How much of what a CLIP sees in image regions the maps of a student have learnt to tell.

    semlt3d train config/recipes/regions.yaml -o build/regions.safetensors
    python -m bench.region_head build/regions.safetensors [--json]

Training with ``distillation: {regions: {}}`` has a head that says an embedding of each region from the encoder's maps;
it is in the state beside the checkpoint. Here the head names the true objects of flat drives that no recipe learns
from, by the anchor that its embedding is likest, and the CLIP that it has learnt from names crops of the same images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bench.own_naming import flat_drives, flat_options, with_language
from semlt3d_ros.core.classes import ClassList, frequency_groups
from semlt3d_ros.datasets.shards import FrameRegions
from semlt3d_ros.distillation.regions import RegionLoss
from semlt3d_ros.distillation.settings import Regions
from semlt3d_ros.student.batch import collate
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.engine import STATE_NAME
from semlt3d_ros.training.frames import open_frames
from semlt3d_ros.training.recipe import Recipe
from semlt3d_ros.training.region_teaching import RegionTeaching

_KEPT_BYTES = 2**30
_PREFIX = "module.distillation."
_NONE = FrameRegions(np.zeros((0, 1, 1, 3), np.uint8), np.zeros(0, np.int64))

Named = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""(K,) of objects: their class, the CLIP's name for them, and the head's."""


def head_of(path: Path, student: Student) -> RegionLoss:
    """The head that a training has left beside its checkpoint.

    Raises:
        SystemExit: there is none.
    """
    from safetensors.torch import load_file

    state = path.with_suffix(".training") / STATE_NAME
    tensors = load_file(state) if state.exists() else {}
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(_PREFIX) and ".of_maps." in name}
    if not found:
        raise SystemExit(f"'{state}' has no head of regions; train with 'distillation: {{regions: {{}}}}'")
    head = RegionLoss(Regions(), student.config, student.config.language_width).eval()
    head.of_maps.load_state_dict({name.partition(".of_maps.")[2]: tensor for name, tensor in found.items()})
    return head


@torch.inference_mode()
def named(student: Student, head: RegionLoss, drives: int, first_seed: int, folder: Path) -> Iterator[Named]:
    """The objects of every frame."""
    config, anchors = student.config, student.decoder.language_anchors
    test = flat_drives(drives, first_seed)
    recipe = Recipe("regions", folder, train=(test,), validation=(flat_drives(1, 1),), student=config)
    teaching = RegionTeaching(Regions(student=None), recipe, _KEPT_BYTES)
    with open_frames([test], folder, config) as frames:
        for index in range(len(frames)):
            frame = frames.frame(index)
            assert frame.labels is not None
            batch = collate([frame], config.image_width, config.image_height)
            seen = teaching.seen(frame, _NONE)
            boxes, views = torch.from_numpy(seen.boxes)[None], torch.from_numpy(seen.views)[None]
            cells = [level.permute(0, 1, 3, 4, 2).float().contiguous() for level in student.features(batch)]
            _, region, said = head.said_of(cells, batch, boxes, views, torch.ones_like(views, dtype=torch.bool))
            away = np.linalg.norm(seen.boxes[:, None, :3] - frame.labels.boxes.centers[None], axis=-1)
            truth = frame.labels.class_ids[away.argmin(axis=1)][region.numpy()]
            clip = torch.from_numpy(seen.embeddings)[region] @ anchors.T
            yield truth, clip.argmax(-1).numpy(), (F.normalize(said, dim=-1) @ anchors.T).argmax(-1).numpy()


def shares(truth: NDArray[np.int64], told: NDArray[np.int64], classes: ClassList) -> dict[str, float]:
    """The share of objects that are named right, of all classes and of each group, all classes weighing alike."""
    right = {kind: float((told[truth == kind] == kind).mean()) for kind in np.unique(truth).tolist()}
    groups = {"all": tuple(right), **frequency_groups(classes.classes)}
    there = {name: [right[kind] for kind in kinds if kind in right] for name, kinds in groups.items()}
    return {name: float(np.mean(each)) if each else float("nan") for name, each in there.items()}


def main() -> None:
    """Print how many objects are named right."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.region_head", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="with the state of its training beside it")
    flat_options(parser)
    given = parser.parse_args()
    torch.set_num_threads(1)
    checkpoint = with_language(parser, given.checkpoint)
    student = checkpoint.student().eval()
    head = head_of(given.checkpoint, student)
    found = list(named(student, head, given.drives, given.first_seed, given.data_folder))
    truth, clip, said = (np.concatenate(each) for each in zip(*found, strict=True))
    result = {"CLIP": shares(truth, clip, checkpoint.classes), "head": shares(truth, said, checkpoint.classes)}
    if given.json:
        print(json.dumps({"objects": len(truth), **result}))
        return
    print(f"{len(truth)} views of objects, named right in percent, all classes weighing alike:")
    for name, figures in result.items():
        print(f"{name:6}" + "".join(f"  {group} {100 * share:.1f}" for group, share in figures.items()))


if __name__ == "__main__":
    main()
