"""What ``semlt3d evaluate`` does with KITTI's folders: results written and read, ground truth read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.core.errors import ConfigurationError, InputRejected

if TYPE_CHECKING:
    from semlt3d_ros.core.cameras import CameraModel
    from semlt3d_ros.core.detections import Detections
    from semlt3d_ros.core.rigid import Matrix
    from semlt3d_ros.evaluation import EvaluationSettings
    from semlt3d_ros.evaluation.kitti_truth import KittiTruth
    from semlt3d_ros.evaluation.results_kitti import KittiResults, KittiView

_DATA_SET, _LABELLED = "KITTI", "image_02"


def kitti_truth(folder: Path, scenes: str | None = None) -> KittiTruth | None:
    """The ground truth of a KITTI folder; None where the path is none.

    Raises:
        ConfigurationError: there are several recordings in it.
    """
    from semlt3d_ros.datasets.kitti_folder import recording_folders

    if not is_kitti_folder(folder):
        return None
    found = recording_folders(folder, scenes)
    if len(found) != 1:
        text = f"{len(found)} recordings ({', '.join(list(found)[:5])})"
        raise ConfigurationError(f"'{folder}' holds {text}; choose one with --scenes, whose frames the results are of")
    from semlt3d_ros.evaluation.kitti_truth import KittiTruth

    return KittiTruth(next(iter(found.values())))


def is_kitti_folder(path: Path) -> bool:
    """Whether a path is a folder with KITTI's recordings."""
    from semlt3d_ros.datasets.kitti_folder import recording_folders

    try:
        return path.is_dir() and bool(recording_folders(path, None))
    except ConfigurationError:
        return False


def kitti_results(folder: Path, truth: Path) -> KittiResults | None:
    """Results in KITTI's format; None where the path is no folder of them.

    Args:
        folder: the folder.
        truth: a bag, or a data set's folder, that says where the camera is that boxes are given by.
    """
    from semlt3d_ros.evaluation.results_kitti import KittiResults, is_results

    if not is_results(folder):
        return None
    own = _own_camera(truth)
    return KittiResults(folder) if own is None else KittiResults(folder, own)


def write_kitti(
    folder: Path, bag: Path, detections: Sequence[Detections], tokens: dict[int, str], settings: EvaluationSettings
) -> int:
    """Write detections in KITTI's format; gives the number of frames.

    Args:
        folder: where to.
        bag: with the frames' calibration and transforms, and what the data set says of them.
        detections: of each frame, in ``base_link``.
        tokens: the data set's keys of the frames, by stamp; others are named by their stamps.
        settings: which predictions count.

    Raises:
        ConfigurationError: the bag does not say where the camera is, or how it sees.
    """
    from semlt3d_ros.evaluation.results_kitti import sample_results, write_results

    views = _views(bag, [each.stamp for each in detections])
    frames = (
        (tokens.get(each.stamp, str(each.stamp)).replace("/", "_"), sample_results(each, view, settings))
        for each, view in zip(detections, views, strict=True)
    )
    return write_results(folder, frames)


def _views(bag: Path, stamps: Sequence[int]) -> list[KittiView]:
    """The labelled camera of KITTI's bags, the first of any other, at each stamp."""
    from semlt3d_ros.core import rigid
    from semlt3d_ros.core.kitti_text import T_BASE_CAMERA0
    from semlt3d_ros.evaluation.results_kitti import KittiView

    name, is_kitti, models = _camera_of(bag)
    if not models:
        raise ConfigurationError(f"bag '{bag}' has no camera_info of {name}; results in KITTI's format need it")
    last, views = next(iter(models.values())), []
    for stamp, T_base_camera in zip(stamps, _mounts(bag, name, stamps), strict=True):
        last = models.get(stamp, last)
        T_base_camera0 = T_BASE_CAMERA0 if is_kitti else T_base_camera
        projection = last.K @ (rigid.inverse(T_base_camera) @ T_base_camera0)[:3]
        views.append(KittiView(rigid.inverse(T_base_camera0), projection, (last.width, last.height)))
    return views


def _own_camera(truth: Path) -> Matrix | None:
    """Where the camera of a bag that is not KITTI's sits; None for KITTI's."""
    if truth.suffix != ".mcap" and is_kitti_folder(truth):
        return None
    name, is_kitti, models = _camera_of(truth)
    return None if is_kitti or not models else _mounts(truth, name, [next(iter(models))])[0]


def _camera_of(bag: Path) -> tuple[str, bool, dict[int, CameraModel]]:
    """The camera's name, whether the bag is KITTI's, and its calibration by stamp."""
    from semlt3d_ros.bags.message import decoded
    from semlt3d_ros.bags.samples import read_samples
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.core.faults import FaultLog
    from semlt3d_ros.messages import topics
    from semlt3d_ros.messages.decode import decode_calibration, stamp_of
    from semlt3d_ros.sensing.rig import rig_from_topics

    faults, models = FaultLog(), {}
    with BagSource(bag) as source:
        samples = read_samples(source, faults)
        is_kitti = any(sample.data_set == _DATA_SET for sample in samples.values())
        name = _LABELLED if is_kitti else rig_from_topics(source.topics).anchor
        for _, message in decoded(source.messages([topics.camera_info_topic(name)]), faults):
            try:
                models[stamp_of(message)] = decode_calibration(message).camera
            except InputRejected as error:
                faults.reject(name, error)
    return name, is_kitti, models


def _mounts(bag: Path, camera: str, stamps: Sequence[int]) -> list[Matrix]:
    from semlt3d_ros.commands.bag_transforms import transforms_of
    from semlt3d_ros.messages import topics

    tree = transforms_of(bag)
    try:
        return [tree.lookup(topics.BASE_FRAME, camera, stamp) for stamp in stamps]
    except InputRejected as rejection:
        text = f"bag '{bag}' does not place '{camera}' in '{topics.BASE_FRAME}' for every frame: {rejection}"
        raise ConfigurationError(f"{text}; results in KITTI's format need it") from None
