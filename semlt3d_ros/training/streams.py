"""In which order training sees the frames: clips played side by side, one frame of each per step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.datasets.source import Part


@dataclass(frozen=True)
class StreamFrame:
    """One stream's frame in one step.

    Attributes:
        index: number of the frame.
        first: whether it begins a clip, so that nothing is remembered.
        clip: serial number of the clip among all that are played; decides what is the same throughout a clip.
    """

    index: int
    first: bool
    clip: int


def single_frames(parts: Sequence[Part]) -> list[Part]:
    """Every frame as a clip of its own, as often as the clip that it was of: for students without memory."""
    return [replace(part, blocks=_single(part.blocks), weights=_of_frames(part)) for part in parts]


def play(
    parts: Sequence[Part], streams: int, steps: int, seed: int, first_step: int = 0
) -> Iterator[list[StreamFrame]]:
    """Frames of each step from ``first_step`` on, the same for a resumed run.

    Every stream plays clips to their end and then takes the next one that no stream has had: whole shuffled passes over
    all clips. The first pass goes through ``blocks`` (clips that become available together) in order and is shuffled
    only within each, so that it can follow the rendering. Where parts have shares, the next clip is of the part that
    has been given the fewest frames for its share.

    Args:
        parts: the clips; those without shares are played as one.
        streams: frames of a step.
        steps: how many there are.
        seed: decides the order.
        first_step: where to begin.
    """
    queue = enumerate(_shared(parts, seed))
    playing: list[Iterator[StreamFrame]] = [iter(()) for _ in range(streams)]
    for step in range(steps):
        frames = []
        for number in range(streams):
            frame = next(playing[number], None)
            while frame is None:
                serial, clip = next(queue)
                playing[number] = iter([StreamFrame(index, index == clip.start, serial) for index in clip])
                frame = next(playing[number], None)
            frames.append(frame)
        if step >= first_step:
            yield frames


def _shared(parts: Sequence[Part], seed: int) -> Iterator[range]:
    if all(part.share is None for part in parts):
        yield from _shuffled(_joined(parts), seed)
        return
    # Each part has an order of its own, so that one does not change with what else is played.
    queues = [_shuffled(part, seed + number) for number, part in enumerate(parts)]
    shares, given = shares_of(parts), [0.0] * len(parts)
    while True:
        chosen = min(range(len(parts)), key=lambda number: (given[number] / shares[number], number))
        clip = next(queues[chosen])
        given[chosen] += len(clip)
        yield clip


def shares_of(parts: Sequence[Part]) -> list[float]:
    """The share of the frames that each part gets, above 0 and of sum 1."""
    sizes = [sum(len(clip) for block in part.blocks for clip in block) for part in parts]
    rest = max(0.0, 1.0 - sum(part.share or 0.0 for part in parts))
    others = sum(size for part, size in zip(parts, sizes, strict=True) if part.share is None)
    wanted = [
        rest * size / others if part.share is None else part.share for part, size in zip(parts, sizes, strict=True)
    ]
    return [share / sum(wanted) for share in wanted]


def _joined(parts: Sequence[Part]) -> Part:
    blocks = [block for part in parts for block in part.blocks]
    if all(part.weights is None for part in parts):
        return Part(blocks)
    counts = [sum(len(block) for block in part.blocks) for part in parts]
    weights = [part.weights or [1.0] * count for part, count in zip(parts, counts, strict=True)]
    return Part(blocks, weights=list(itertools.chain.from_iterable(weights)))


def _shuffled(part: Part, seed: int) -> Iterator[range]:
    generator = torch.Generator().manual_seed(seed)
    clips = list(itertools.chain.from_iterable(part.blocks))
    if part.weights is not None:
        weights = torch.tensor(part.weights, dtype=torch.float64)
        if not weights.sum() > 0:
            raise ConfigurationError("nothing is to be played: all weights of the clips are 0")
        while clips:
            for index in _repeated(weights, generator):
                yield clips[index]
    for block in part.blocks:
        for index in torch.randperm(len(block), generator=generator).tolist():
            yield block[index]
    while clips:
        for index in torch.randperm(len(clips), generator=generator).tolist():
            yield clips[index]


def _repeated(weights: torch.Tensor, generator: torch.Generator) -> list[int]:
    """One pass: each clip as often as its weight says, rounded by chance, in any order."""
    counts = (weights + torch.rand(len(weights), generator=generator, dtype=torch.float64)).floor().long()
    rows = torch.repeat_interleave(torch.arange(len(weights)), counts)
    order: list[int] = rows[torch.randperm(len(rows), generator=generator)].tolist()
    return order


def _single(blocks: Sequence[Sequence[range]]) -> list[list[range]]:
    return [[range(index, index + 1) for clip in block for index in clip] for block in blocks]


def _of_frames(part: Part) -> list[float] | None:
    if part.weights is None:
        return None
    clips = itertools.chain.from_iterable(part.blocks)
    return [weight for clip, weight in zip(clips, part.weights, strict=True) for _ in clip]
