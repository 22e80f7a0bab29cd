"""A student that learns from labelled frames."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from semlt3d_ros.checkpoints.adoption import Adoption, adopt
from semlt3d_ros.checkpoints.checkpoint import read_config
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.datasets.opening import Frames
from semlt3d_ros.distillation.terms import distillation_terms
from semlt3d_ros.evaluation.report import Report
from semlt3d_ros.inference.detector import Detector
from semlt3d_ros.inference.teacher_cache import Taught
from semlt3d_ros.losses.class_balance import effective_weights
from semlt3d_ros.losses.criterion import student_criterion
from semlt3d_ros.losses.denoising import Denoiser
from semlt3d_ros.losses.hierarchy import HierarchyLoss
from semlt3d_ros.losses.projection import SemanticProjection
from semlt3d_ros.losses.targets import Targets, collate_targets, learnt, points_of
from semlt3d_ros.student.batch import Batch, collate
from semlt3d_ros.student.depth_images import seeing_depth
from semlt3d_ros.student.memory import Memory
from semlt3d_ros.student.student import Student
from semlt3d_ros.training.augmentation import ClipChanges, augment, clip_changes
from semlt3d_ros.training.corrupting import corrupted
from semlt3d_ros.training.depth_teaching import refuse_other
from semlt3d_ros.training.feature_cache import FeatureCache
from semlt3d_ros.training.hiding import Hidden
from semlt3d_ros.training.image_teaching import ImageTeaching, KnownImages
from semlt3d_ros.training.language import Semantics
from semlt3d_ros.training.pictures import drawn
from semlt3d_ros.training.precision import autocast
from semlt3d_ros.training.ranks import Ranks
from semlt3d_ros.training.recipe import Recipe, settings_of
from semlt3d_ros.training.samplers import weighted
from semlt3d_ros.training.streams import StreamFrame, play, single_frames
from semlt3d_ros.training.task import Task
from semlt3d_ros.training.teaching import TaughtBefore, Teaching
from semlt3d_ros.training.validation import evaluated


@dataclass
class StudentSample:
    """A frame of each stream.

    Attributes:
        played: which frames they are.
        batch: their images and cameras.
        frames: labels, points and regions; without images.
        taught: what a LiDAR teacher says of each; empty without one.
        before: what it says of the frame before each; empty where nobody looks back.
        known: what teachers of images have said of each before; empty without such.
        corrupted: the batch as the student sees it, where that is another one.
    """

    played: Sequence[StreamFrame]
    batch: Batch
    frames: Sequence[Frame]
    taught: Sequence[Taught | None] = ()
    before: Sequence[TaughtBefore | None] = ()
    known: Sequence[KnownImages] = ()
    corrupted: Batch | None = None


def rehearse(recipe: Recipe) -> None:
    """Make the student of a recipe, so that what cannot be made is told before anything is rendered or written.

    Raises:
        ConfigurationError: there is no such backbone, or a checkpoint to start from or to follow cannot be used.
    """
    student = Student(replace(recipe.student, pretrained=False))
    if recipe.start is not None:
        adopt(student, recipe.start, recipe.initial_parts, classes=recipe.class_list)
    if recipe.distillation is not None and recipe.distillation.monostl is not None:
        teacher = recipe.distillation.monostl.teacher
        refuse_other(read_config(teacher), recipe.student, teacher)


class StudentTask(Task[StudentSample]):
    """Student and training-only heads.

    Args:
        recipe: the run.
        frames: training frames with labels and points, prepared to the student's image size.
        validation: frames for the evaluations along the way; without them there are none.
        semantics: anchors and region embeddings; needed by a student with language.
        ranks: the processes that share the steps, and where this one computes.

    Raises:
        ConfigurationError: the student cannot be made, or lacks ``semantics``.
    """

    def __init__(
        self,
        recipe: Recipe,
        frames: Frames,
        validation: Frames | None = None,
        semantics: Semantics | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.frames, self.validation, self.semantics = recipe, frames, validation, semantics
        self.ranks = ranks or Ranks()
        config, device = recipe.student, self.ranks.device
        self.student = Student(config).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.denoiser = Denoiser(len(config.class_names), config.width, recipe.denoising).to(device)
        self.adopted: Adoption | None = None
        if recipe.start is not None:
            worded = None if semantics is None else semantics.anchors
            self.adopted = adopt(self.student, recipe.start, recipe.initial_parts, worded, recipe.class_list)
        projection, anchors = None, None
        if config.language_width:
            if semantics is None:
                raise ConfigurationError(
                    f"recipe '{recipe.name}': a student with language_width needs a CLIP to learn from"
                )
            anchors = torch.from_numpy(semantics.anchors.embeddings).to(device)
            self.student.set_anchors(anchors)
            if recipe.loss_weights.distillation > 0:
                projection = SemanticProjection(config).to(device)
        if recipe.frozen_images:
            for module in self._image_modules:
                module.requires_grad_(False).eval()
            self.student.features.cache = FeatureCache(recipe.data_folder / "features", self.student.features)
        temperature = 1.0 if semantics is None else semantics.temperature
        self.criterion = student_criterion(
            config,
            recipe.loss_weights,
            recipe.denoising,
            projection,
            anchors,
            self.ranks.total,
            temperature,
            self._weights_of_classes().to(device) if recipe.loss_weights.class_overlap else None,
        )
        self.hidden = None if recipe.hidden is None else Hidden(recipe.hidden, frames, recipe)
        self._share = 0.0
        self.model = self.student
        self.modules = {"student": self.student, "denoiser": self.denoiser}
        if projection is not None:
            self.modules["projection"] = projection
        if recipe.loss_weights.hierarchy:
            coarser = HierarchyLoss(recipe.loss_weights.hierarchy, recipe.class_list, config.width).to(device)
            self.criterion.terms.append(coarser)
            self.modules["hierarchy"] = coarser
        self.teaching: Teaching | None = None
        self.image_teaching: ImageTeaching | None = None
        if recipe.distillation is not None:
            settings = recipe.distillation
            if settings.follows_lidar:
                self.teaching = Teaching(settings, frames, recipe.class_list, recipe.data_folder)
            if settings.follows_images:
                self.image_teaching = ImageTeaching(settings, recipe, device)
            lidar_width = 0 if self.teaching is None else self.teaching.width
            sam_width = 0 if self.image_teaching is None else self.image_teaching.sam_width
            language_width = 0 if self.image_teaching is None else self.image_teaching.language_width
            taught_by = distillation_terms(settings, config, lidar_width, sam_width, language_width).to(device)
            self.criterion.terms.extend(taught_by)
            self.modules["distillation"] = taught_by

    @property
    def _image_modules(self) -> tuple[nn.Module, ...]:
        return self.student.features, self.student.image_head

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The backbone, and the rest; of frozen images only what is not."""
        backbone = list(self.student.features.backbone.parameters())
        frozen = self._image_modules if self.recipe.frozen_images else ()
        apart = {id(p) for p in backbone} | {id(p) for module in frozen for p in module.parameters()}
        rest = [p for module in self.modules.values() for p in module.parameters() if id(p) not in apart]
        groups: list[dict[str, Any]] = [{"params": rest, "scale": 1.0}]
        if not self.recipe.frozen_images:
            groups.insert(0, {"params": backbone, "scale": self.recipe.schedule.backbone_rate})
        return groups

    def order(self, batch: int, steps: int, first_step: int) -> Iterator[list[StreamFrame]]:
        """Clips side by side for a student with memory, else single frames; as often as the sampling has it."""
        parts = self.frames.parts()
        parts = parts if self.recipe.student.memory_frames else single_frames(parts)
        return play(weighted(parts, self.recipe.sampling, self._objects), batch, steps, self.recipe.seed, first_step)

    def _objects(self, index: int) -> NDArray[np.int64]:
        """(C,) how many objects of each class frame ``index`` has that are learnt."""
        recipe, labels = self.recipe, self.frames.labels(index)
        count = len(recipe.student.class_names)
        if labels is None:
            return np.zeros(count, np.int64)
        kinds = labels.class_ids[learnt(labels, recipe.student.range_m, recipe.min_visible_pixels)]
        return np.bincount(kinds, minlength=count)

    def _weights_of_classes(self) -> Tensor:
        """(n,) how much objects of each class count, by how many views of them all frames have."""
        counts = np.sum([self._objects(index) for index in range(len(self.frames))], axis=0)
        return effective_weights(torch.from_numpy(counts), self.recipe.loss_weights.class_overlap)

    def wait(self, played: Sequence[StreamFrame]) -> None:
        """Return once the frames are rendered."""
        for place in played:
            self.frames.wait(place.index)

    def load(self, played: Sequence[StreamFrame]) -> StudentSample:
        """The frames as they are, before augmentation."""
        config = self.recipe.student
        frames = [self.frames.frame(place.index) for place in played]
        batch = collate(frames, config.image_width, config.image_height)
        sample = StudentSample(played, batch, [replace(frame, views=()) for frame in frames])
        if self.recipe.augmentation.corrupt:
            seen = [corrupted(frame, place.clip, self.recipe) for frame, place in zip(frames, played, strict=True)]
            sample.corrupted = collate(seen, config.image_width, config.image_height)
        if self.teaching is not None:
            sample.taught = [self.teaching.taught(place.index) for place in played]
            sample.before = [self.teaching.before(place.index) for place in played]
        if self.image_teaching is not None:
            stored = [self.frames.regions(place.index) for place in played]
            sample.known = self.image_teaching.known(frames, stored, batch, self._changes(played).mirror)
        return sample

    def start(self, streams: int) -> Memory | None:
        """The memory of streams before their first frame; None of a student without memory."""
        config = self.recipe.student
        return Memory.empty(streams, config, self.ranks.device) if config.memory_frames else None

    def restored(self, tensors: dict[str, Tensor]) -> Memory | None:
        """The memory that ``tensors()`` gave."""
        return Memory(**{name: values.to(self.ranks.device) for name, values in tensors.items()}) if tensors else None

    def begin_step(self, share: float) -> None:
        """Training mode, but for frozen images and statistics that are kept."""
        self._share = share
        self.student.train()
        if self.recipe.frozen_images:
            for module in self._image_modules:
                module.eval()
        if self.recipe.schedule.keep_statistics:
            for each in self.student.modules():
                if isinstance(each, nn.modules.batchnorm._BatchNorm):
                    each.eval()

    def losses(self, sample: StudentSample, carried: Memory | None) -> tuple[dict[str, Tensor], Memory | None]:
        """Losses of the student on the augmented frames, and its memory of them."""
        recipe, device, played = self.recipe, self.ranks.device, sample.played
        if carried is not None:
            carried = carried.forget(torch.tensor([place.first for place in played], device=device))
        changes = self._changes(played)
        seen = sample.corrupted or sample.batch
        batch, targets = augment(seen, self._targets(sample), recipe.augmentation, changes)
        batch, targets = batch.to(device), targets.to(device)
        if recipe.student.input == "depth":
            batch = seeing_depth(batch, targets.points)
        with autocast(device, recipe.schedule.precision):
            noised = self.denoiser(targets) if recipe.loss_weights.denoising else None
            output = self.student(batch, noised, carried)
        if recipe.frozen_images:
            output.image = None  # nothing of it learns
        signal, images = None, None
        if self.teaching is not None:
            signal = self.teaching.signal(sample.taught, sample.batch, sample.before).to(device)
        if self.image_teaching is not None:
            points = points_of(sample.frames)
            images = self.image_teaching.signals(sample.known, sample.batch, points, changes.mirror).to(device)
        return self.criterion(output, targets, batch, signal, self._share, images), output.memory

    def _changes(self, played: Sequence[StreamFrame]) -> ClipChanges:
        return clip_changes([place.clip for place in played], self.recipe.seed, self.recipe.augmentation)

    def _targets(self, sample: StudentSample) -> Targets:
        """Ground truth of the frames, with what is seen in their regions where semantics are distilled."""
        recipe, seen, told, frames = self.recipe, None, None, sample.frames
        if self.teaching is not None:
            frames = [self.teaching.labelled(frame, said) for frame, said in zip(frames, sample.taught, strict=True)]
        names_hidden = recipe.hidden is not None and recipe.hidden.named
        if self.semantics is not None and (recipe.loss_weights.distillation > 0 or names_hidden):
            seen = [
                self.semantics.seen(place.index, self.frames) if labelled is frame else self.semantics.nothing(labelled)
                for place, frame, labelled in zip(sample.played, sample.frames, frames, strict=True)
            ]
        if self.hidden is not None:
            names = None if self.semantics is None else self.semantics.anchors
            hidden = [
                self.hidden.applied(place.index, frame, None if seen is None else seen[row], names)
                for row, (place, frame) in enumerate(zip(sample.played, frames, strict=True))
            ]
            frames, told = [frame for frame, _ in hidden], [known for _, known in hidden]
        return collate_targets(frames, recipe.student.range_m, recipe.min_visible_pixels, seen, told)

    def evaluate(self, model: nn.Module, limit: int | None = None) -> Report | None:
        """A student's figures on validation frames, whose drives the processes divide among themselves."""
        if self.validation is None:
            return None
        assert isinstance(model, Student)
        detector = Detector(model, self.recipe.name, self.ranks.device)
        return evaluated(detector, self.validation, settings_of(self.recipe), limit, self.ranks)

    def pictures(self, model: nn.Module) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """The middle frame of a few validation drives, with what was there and what a student finds."""
        if self.validation is None:
            return
        assert isinstance(model, Student)
        detector = Detector(model, self.recipe.name, self.ranks.device)
        yield from drawn(detector, self.validation, self.recipe.evaluation_range_m)
