"""In which order training sees the frames: clips played side by side, one frame of each per step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch


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


def single_frames(blocks: Sequence[Sequence[range]]) -> list[list[range]]:
    """Every frame as a clip of its own: for students without memory."""
    return [[range(index, index + 1) for clip in block for index in clip] for block in blocks]


def play(
    blocks: Sequence[Sequence[range]], streams: int, steps: int, seed: int, first_step: int = 0
) -> Iterator[list[StreamFrame]]:
    """Frames of each step from ``first_step`` on, the same for a resumed run.

    Every stream plays clips to their end and then takes the next one that no stream has had: whole shuffled passes over
    all clips. The first pass goes through ``blocks`` (clips that become available together) in order and is shuffled
    only within each, so that it can follow the rendering.
    """
    queue = enumerate(_shuffled(blocks, seed))
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


def _shuffled(blocks: Sequence[Sequence[range]], seed: int) -> Iterator[range]:
    generator = torch.Generator().manual_seed(seed)
    for block in blocks:
        for index in torch.randperm(len(block), generator=generator).tolist():
            yield block[index]
    clips = list(itertools.chain.from_iterable(blocks))
    while clips:
        for index in torch.randperm(len(clips), generator=generator).tolist():
            yield clips[index]
