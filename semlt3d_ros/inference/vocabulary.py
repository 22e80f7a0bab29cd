"""Classes by language: names whose scores come from comparing queries with anchors, chosen at run time.

The network is not changed by them. It routes by the anchors it was trained with, and its boxes stay the same; only the
last layer's queries are compared with more, or with other, anchors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.student.decoder import LanguageProjection, LayerOutput
from semlt3d_ros.student.student import Student


@dataclass(frozen=True)
class Vocabulary:
    """Names of classes, some of which are scored by their anchors alone.

    Attributes:
        class_names: all C' names: the trained ones in their order, then the added ones.
        columns: n numbers of the classes that are scored by their anchors.
        anchors: (n, d) unit rows.
        bias: what is added to the dot product to make it a logit.
    """

    class_names: tuple[str, ...]
    columns: tuple[int, ...]
    anchors: Tensor
    bias: float

    def extended(self, logits: Tensor, output: LayerOutput) -> Tensor:
        """Logits (B, Q, C) of the trained classes to (B, Q, C') of all.

        The others are those of query-language alignment: the dot product of projected query and anchor, plus the bias.
        """
        assert output.projected is not None
        added = logits.new_zeros(*logits.shape[:-1], len(self.class_names) - logits.shape[-1])
        result = torch.cat([logits, added], dim=-1)
        result[..., list(self.columns)] = output.projected.float() @ self.anchors.T + self.bias
        return result


def make_vocabulary(student: Student, source: str, anchors: LanguageAnchors) -> Vocabulary:
    """The vocabulary of a student with some anchors: a name that it was trained for is replaced, another one added.

    Args:
        student: with language.
        source: identity of the CLIP it was trained with, ``""`` where unknown.
        anchors: names and embeddings of the same CLIP.

    Raises:
        ConfigurationError: the student has no language, or the anchors are of another dimension or another CLIP.
    """
    if not student.config.language_width:
        raise ConfigurationError(
            "this checkpoint was trained without language and knows its own classes only; use one trained with "
            "language_width for classes by name"
        )
    anchors.require(student.config.language_width, source)
    names = student.config.class_names
    names = (*names, *(name for name in anchors.names if name not in names))
    language = student.decoder.layers[-1].language
    assert isinstance(language, LanguageProjection)
    rows = torch.from_numpy(anchors.embeddings).to(student.decoder.language_anchors)
    return Vocabulary(names, tuple(names.index(name) for name in anchors.names), rows, language.bias.item())
