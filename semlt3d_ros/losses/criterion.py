"""The detector's own losses: which terms there are, and how they add up."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from semlt3d_ros.losses.balance import BalanceLoss
from semlt3d_ros.losses.denoising_loss import DenoisingLoss
from semlt3d_ros.losses.denoising_settings import DenoisingSettings
from semlt3d_ros.losses.image_losses import CenterLoss, DepthLoss, HeatLoss
from semlt3d_ros.losses.loss_weights import LossWeights
from semlt3d_ros.losses.projection import DistillationLoss, SemanticProjection
from semlt3d_ros.losses.query_losses import AlignmentLoss, BoxLoss, ClassLoss, ScaleLoss
from semlt3d_ros.losses.signal import ImageSignals, TeacherSignal
from semlt3d_ros.losses.targets import Targets
from semlt3d_ros.losses.term import LossTerm, Total, alone, view_of
from semlt3d_ros.student.batch import Batch
from semlt3d_ros.student.config import StudentConfig
from semlt3d_ros.student.student import StudentOutput


class Criterion(nn.Module):
    """A list of terms. A new signal is a new term.

    Args:
        terms: what is minimised, each with its weight.
        total: sums over the processes that share a step.
    """

    def __init__(self, terms: Iterable[LossTerm], total: Total = alone) -> None:
        super().__init__()
        self.terms, self.total = nn.ModuleList(terms), total

    def forward(
        self,
        output: StudentOutput,
        targets: Targets,
        batch: Batch,
        signal: TeacherSignal | None = None,
        share: float = 1.0,
        images: ImageSignals | None = None,
    ) -> dict[str, Tensor]:
        """Weighted losses by name, summed over layers; their sum is to be minimised.

        With several processes, the losses of all of them add up to those of the whole batch. ``signal`` is what a
        teacher says of the frames, for terms that follow one, ``images`` what teachers of images say; ``share`` is how
        much of the run is done.
        """
        view = view_of(output, targets, batch, self.total, signal, share, images)
        return {name: value for term in self.terms for name, value in term(view).items()}


def student_criterion(
    config: StudentConfig,
    weights: LossWeights,
    denoising: DenoisingSettings | None = None,
    projection: SemanticProjection | None = None,
    anchors: Tensor | None = None,
    total: Total = alone,
    temperature: float = 0.1,
    of_classes: Tensor | None = None,
) -> Criterion:
    """The losses of a student that learns from labels.

    Args:
        config: the student's.
        weights: of the losses.
        denoising: what the denoising queries take part in.
        projection: for semantic projection distillation; None without.
        anchors: (n, d) language anchors, needed with ``projection``.
        total: sums over the processes that share a step.
        temperature: of semantic projection distillation.
        of_classes: (n,) how much objects of each class count in what tells classes; None where all count alike.
    """
    aligned = (denoising or DenoisingSettings()).aligned

    def queries(with_alignment: bool) -> list[LossTerm]:
        alignment = [AlignmentLoss(weights.alignment, of_classes)] if with_alignment else []
        return [ClassLoss(weights.classes, of_classes), *alignment, BoxLoss(weights.boxes), ScaleLoss(weights.scale)]

    terms = [*queries(True), BalanceLoss(weights.balance, weights.balanced == "objects")]
    if projection is not None and anchors is not None:
        terms.append(DistillationLoss(weights.distillation, projection, anchors, temperature))
    terms += [
        DenoisingLoss(weights.denoising, queries(aligned)),
        HeatLoss(weights.heat),
        CenterLoss(weights.centers),
        DepthLoss(weights.depth, config.range_m),
    ]
    return Criterion(terms, total)
