"""Class names as directions in the space of a vision-language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from semlt3d_ros.core.errors import ConfigurationError

_LEAST_NORM = 1e-6


@dataclass(frozen=True, eq=False)
class LanguageAnchors:
    """Names and their text embeddings: SemLT3D's P_lang (Vo et al., CVPR 2026).

    Attributes:
        names: the n class names.
        embeddings: (n, d) float32, rows of unit length; given rows are brought to it.
        prompts: every text that was embedded, as many for each name, those of the first name first; may be empty.
        source: identity of the model, ``"<name>@<hash of its weights>"``; anchors of two sources cannot be compared.

    Raises:
        ConfigurationError: no names, a name given twice, an empty name or prompt, prompts that do not come out even, or
            rows that are not one direction for each name.
    """

    names: tuple[str, ...]
    embeddings: NDArray[np.float32]
    prompts: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        names, prompts = tuple(self.names), tuple(self.prompts)
        check_names(names)
        if any(not prompt.strip() for prompt in prompts):
            raise ConfigurationError("language anchors: a prompt is empty; write what to look for, such as 'a car'")
        if len(prompts) % len(names):
            raise ConfigurationError(
                f"language anchors: {len(prompts)} prompts do not come out even over {len(names)} names; "
                "give as many for each name"
            )
        rows = np.asarray(self.embeddings, np.float32)
        if rows.ndim != 2 or rows.shape[0] != len(names) or rows.shape[1] == 0:
            raise ConfigurationError(
                f"language anchors: embeddings of shape {rows.shape} do not fit {len(names)} names; "
                "make them again with 'semlt3d anchors'"
            )
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
        wrong = [name for name, norm in zip(names, norms, strict=True) if not _LEAST_NORM < norm < np.inf]
        if wrong:
            raise ConfigurationError(
                f"language anchors: the embedding of {', '.join(map(repr, wrong))} is zero or not finite; "
                "make the anchors again with 'semlt3d anchors'"
            )
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "prompts", prompts)
        object.__setattr__(self, "embeddings", (rows / norms[:, None]).astype(np.float32))

    def __len__(self) -> int:
        return len(self.names)

    @property
    def dimension(self) -> int:
        """d, the width of the language space."""
        return int(self.embeddings.shape[1])

    def subset(self, names: Sequence[str]) -> LanguageAnchors:
        """The anchors of some names, in the given order.

        Raises:
            ConfigurationError: a name has no anchor.
        """
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ConfigurationError(
                f"language anchors: no anchor for {', '.join(map(repr, unknown))}; there are: {', '.join(self.names)}"
            )
        rows = [self.names.index(name) for name in names]
        each = len(self.prompts) // len(self.names)
        prompts = tuple(prompt for row in rows for prompt in self.prompts[row * each : (row + 1) * each])
        return LanguageAnchors(tuple(names), self.embeddings[rows], prompts, self.source)

    def similarity(self, vectors: NDArray | None = None) -> NDArray[np.float32]:
        """Cosines (..., n) of vectors (..., d) with the anchors; of the anchors among themselves (n, n) if None.

        A vector that is zero or not finite points nowhere: its cosines are NaN.

        Raises:
            ConfigurationError: the vectors have another dimension.
        """
        if vectors is None:
            return self.embeddings @ self.embeddings.T
        given = np.asarray(vectors, np.float32)
        if given.shape[-1:] != (self.dimension,):
            raise ConfigurationError(
                f"language anchors of dimension {self.dimension} cannot be compared with vectors of shape "
                f"{given.shape}; use the model the anchors are from ({self.source or 'not told'})"
            )
        norms = np.linalg.norm(given.astype(np.float64), axis=-1, keepdims=True)
        usable = (norms > _LEAST_NORM) & np.isfinite(norms)
        unit = np.where(usable, given / np.where(usable, norms, 1.0), np.nan).astype(np.float32)
        return unit @ self.embeddings.T

    def distribution(self, vectors: NDArray, logit_scale: float) -> NDArray[np.float32]:
        """Which name fits vectors (..., d) how well: softmax over the names of ``logit_scale`` times the cosines."""
        logits = logit_scale * self.similarity(vectors)
        exponential = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return exponential / exponential.sum(axis=-1, keepdims=True)

    def nearest(self) -> list[tuple[str, str, float]]:
        """Each name with the other name whose anchor is closest, and their cosine; empty for a single name."""
        if len(self) < 2:
            return []
        cosines = self.similarity()
        np.fill_diagonal(cosines, -np.inf)
        closest = cosines.argmax(axis=1)
        return [
            (name, self.names[other], float(cosines[row, other]))
            for row, (name, other) in enumerate(zip(self.names, closest, strict=True))
        ]

    def indistinct(self, logit_scale: float) -> list[tuple[str, str, float]]:
        """Pairs of names a model cannot tell apart, with their cosine: even a vector that is exactly the one anchor
        is given to it less than twice as surely as to the other.

        Args:
            logit_scale: the model's inverse temperature.
        """
        cosines = self.similarity()
        first, second = np.nonzero(np.triu(logit_scale * (1.0 - cosines) < np.log(2.0), k=1))
        return [(self.names[a], self.names[b], float(cosines[a, b])) for a, b in zip(first, second, strict=True)]

    def require(self, dimension: int, source: str = "") -> None:
        """Refuse anchors of another language space than the one a student was trained in.

        Args:
            dimension: width of that space.
            source: identity of the model it is of; not compared where either is unknown.

        Raises:
            ConfigurationError: the anchors are of another dimension or another model.
        """
        if self.dimension != dimension:
            raise ConfigurationError(
                f"language anchors ({self.source or 'of unknown source'}) have dimension {self.dimension}, the model "
                f"needs {dimension}; make them with the CLIP it was trained with ({source or 'not told'})"
            )
        if source and self.source and self.source != source:
            raise ConfigurationError(
                f"language anchors are from '{self.source}', the model was trained with '{source}'; "
                "make them again with that CLIP"
            )


def check_names(names: Sequence[str]) -> None:
    """Refuse names that cannot name classes.

    Raises:
        ConfigurationError: there are none, one is empty, or one occurs twice (case and surrounding blanks aside).
    """
    if not names:
        raise ConfigurationError("language anchors: no class names given; name at least one")
    if any(not name.strip() for name in names):
        raise ConfigurationError("language anchors: a class name is empty; every class needs a name")
    counts = Counter(name.strip().lower() for name in names)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ConfigurationError(
            f"language anchors: class name {', '.join(map(repr, twice))} is given more than once; every class needs "
            "its own name"
        )
