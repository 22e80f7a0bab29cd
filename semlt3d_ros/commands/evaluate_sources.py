"""What ``semlt3d evaluate`` reads: detections and ground truth of bags, of results files, of data sets' folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from semlt3d_ros.commands.bag_transforms import transforms_of
from semlt3d_ros.commands.evaluate_kitti import is_kitti_folder, kitti_results, kitti_truth
from semlt3d_ros.commands.output import for_people, progress_bar
from semlt3d_ros.core.errors import ConfigurationError, InputRejected
from semlt3d_ros.core.faults import FaultLog

if TYPE_CHECKING:
    from semlt3d_ros.core.classes import ClassList
    from semlt3d_ros.core.detections import Detections
    from semlt3d_ros.core.label_map import LabelMap
    from semlt3d_ros.core.rigid import Matrix
    from semlt3d_ros.evaluation.bags import BagPairs
    from semlt3d_ros.evaluation.results_pairs import ResultsFile, ResultsPairs
    from semlt3d_ros.evaluation.truth import Truth, TruthFrame

GLOBAL_FRAMES = ("map", "odom")
"""Fixed frames (REP-105) that results can be given in; the first that is there counts."""


def open_pairs(
    options: argparse.Namespace, classes: ClassList | None, label_map: LabelMap | None
) -> BagPairs | ResultsPairs:
    """Detections, paired with ground truth.

    Raises:
        ConfigurationError: they cannot be read, or do not go together.
    """
    from semlt3d_ros.evaluation.bags import BagPairs
    from semlt3d_ros.evaluation.results_kitti import KittiResults
    from semlt3d_ros.evaluation.results_pairs import ResultsPairs

    results = _results(options.detections) or kitti_results(options.detections, options.truth)
    truth = _folder_truth(options, results)
    if results is not None:
        bag_truth = BagTruth(options.truth, posed=not isinstance(results, KittiResults))
        return ResultsPairs(results, truth or bag_truth, classes, label_map)
    if truth is not None:
        raise ConfigurationError(
            f"'{options.detections}' is a bag, '{options.truth}' a data set's folder; give the bag that was imported "
            "from it as --truth, or a results file as the detections"
        )
    return BagPairs(options.detections, options.truth, classes, label_map)


def _results(path: Path) -> ResultsFile | None:
    """The results file that a path is; None for a bag."""
    if path.suffix != ".json":
        return None
    from semlt3d_ros.evaluation.results_nuscenes import NuScenesResults

    return NuScenesResults(path)


def is_folder_of_data_set(path: Path) -> bool:
    """Whether the truth is a data set's own folder, and no bag."""
    from semlt3d_ros.datasets.nuscenes_folder import is_folder

    return is_folder(path) or is_kitti_folder(path)


def _folder_truth(options: argparse.Namespace, results: ResultsFile | None) -> Truth | None:
    """The ground truth of the data set whose folder the truth is; None for a bag."""
    from semlt3d_ros.datasets.nuscenes_folder import chosen_by_split, open_folder

    truth = kitti_truth(options.truth, options.scenes)
    if truth is not None:
        return truth
    if not is_folder_of_data_set(options.truth):
        for name in ("version", "scenes", "split"):
            if getattr(options, name) is not None:
                raise ConfigurationError(f"--{name} is of a data set's folder, and '{options.truth}' is none")
        return None
    folder = open_folder(options.truth, options.version)
    scenes = chosen_by_split(folder, options.scenes, options.split)
    from semlt3d_ros.evaluation.nuscenes_truth import NuScenesTruth

    chosen = options.scenes is not None or options.split is not None
    with progress_bar("reading the tables", for_people(options)) as progress:
        return NuScenesTruth(folder, scenes, None if chosen or results is None else results.tokens, progress)


def unlabelled_samples(path: Path) -> dict[int, str]:
    """Stamp -> key of the samples in a bag that has no ground truth, as one of a test split; else none."""
    from semlt3d_ros.bags.samples import read_samples
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.messages import topics

    with BagSource(path) as source:
        if topics.TRUTH_LONG_TAIL in source.topics or topics.TRUTH_SAMPLE not in source.topics:
            return {}
        return {stamp: sample.token for stamp, sample in read_samples(source, FaultLog()).items() if sample.token}


def detections_of(bag: Path, faults: FaultLog) -> dict[int, Detections]:
    """The detections in a bag by their stamps."""
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.evaluation.bags import read_detections

    with BagSource(bag) as source:
        return {found.stamp: found for found, _ in read_detections(source, faults)}


class BagTruth:
    """The ground truth of a bag, in its order; frames without a key go by their stamps.

    Args:
        bag: the bag.
        posed: with the vehicle's poses, for results that are given in the global frame.
    """

    def __init__(self, bag: Path, posed: bool = True) -> None:
        self._bag = bag
        self._posed = posed
        self.place = str(bag)
        self.faults = FaultLog()

    def frames(self) -> Iterator[TruthFrame]:
        """Frame after frame.

        Raises:
            ConfigurationError: it has no ground truth, or does not place the vehicle.
        """
        import numpy as np

        from semlt3d_ros.bags.samples import read_samples
        from semlt3d_ros.bags.source import BagSource
        from semlt3d_ros.core.labelled_region import LabelledRegion
        from semlt3d_ros.evaluation.bags import read_truth
        from semlt3d_ros.evaluation.truth import TruthFrame

        self.faults = FaultLog()
        with BagSource(self._bag) as source:
            samples = read_samples(source, self.faults)
            found = list(read_truth(source, self.faults))
            self.faults.extend(source.faults)
        if not found:
            why = f": {self.faults.reasons()}" if len(self.faults) else ""
            raise ConfigurationError(f"bag '{self._bag}' has no ground truth{why}")
        frame_id = found[0][2]
        stamps = [stamp for stamp, _, _ in found]
        poses = ego_poses([self._bag], frame_id, stamps) if self._posed else [np.eye(4)] * len(stamps)
        seen: set[int] = set()
        for (stamp, labels, _), pose in zip(found, poses, strict=True):
            if stamp in seen:
                continue
            seen.add(stamp)
            sample = samples.get(stamp)
            token = sample.token if sample else ""
            if sample is not None and len(sample.attributes) == len(labels.boxes):
                labels.attributes = sample.attributes
            region = sample.region if sample else LabelledRegion()
            yield TruthFrame(stamp, token or str(stamp), labels, pose, region)


def ego_poses(bags: Sequence[Path], ego_frame: str, stamps: Sequence[int]) -> list[Matrix]:
    """The vehicle's pose in the global frame at each stamp, from the first of the bags that knows it.

    Raises:
        ConfigurationError: none of them does, or there is a stamp it does not cover.
    """
    for bag in bags:
        tree = transforms_of(bag)
        target = next((frame for frame in GLOBAL_FRAMES if frame in tree.frames), None)
        if target is None or ego_frame not in tree.frames:
            continue
        try:
            return [tree.lookup(target, ego_frame, stamp) for stamp in stamps]
        except InputRejected as rejection:
            raise ConfigurationError(f"bag '{bag}' has no pose of '{ego_frame}' for every frame: {rejection}") from None
    raise ConfigurationError(
        f"a results file is in the frame {' or '.join(GLOBAL_FRAMES)}, but no transform places '{ego_frame}' there in "
        f"{' or '.join(str(bag) for bag in bags)}; record /tf or /localization/odometry, or leave out --results"
    )
