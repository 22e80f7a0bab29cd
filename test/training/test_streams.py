"""Clips played side by side: whole, in order, each once per pass, the same after a resume."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.training.streams import play, single_frames


def clips(lengths: list[int]) -> list[range]:
    found, start = [], 0
    for length in lengths:
        found.append(range(start, start + length))
        start += length
    return found


@settings(max_examples=40, deadline=None)
@given(lengths=st.lists(st.integers(1, 5), min_size=2, max_size=12), streams=st.integers(1, 4), seed=st.integers(0, 99))
def test_every_stream_plays_whole_clips_in_order(lengths: list[int], streams: int, seed: int) -> None:
    blocks = [clips(lengths)[: len(lengths) // 2], clips(lengths)[len(lengths) // 2 :]]
    steps = list(play(blocks, streams, 40, seed))
    starts = {clip.start: clip for clip in clips(lengths)}
    for number in range(streams):
        played = [step[number] for step in steps]
        for before, now in itertools.pairwise(played):
            if now.first:
                assert now.index in starts and now.clip > before.clip
                assert before.index + 1 == next(c for c in starts.values() if before.index in c).stop
            else:
                assert now.index == before.index + 1 and now.clip == before.clip
    firsts = sorted({frame.clip: frame.index for step in steps for frame in step if frame.first}.items())
    serials = [serial for serial, _ in firsts]
    assert serials == list(range(len(serials)))
    one_pass = [index for _, index in firsts[: len(lengths)]]
    assert len(set(one_pass)) == len(one_pass)
    assert set(one_pass[: len(blocks[0])]) <= {clip.start for clip in blocks[0]}


def test_a_resumed_run_plays_the_same_frames() -> None:
    blocks = [clips([2, 3, 1, 4]), [range(10, 12), range(12, 13)]]
    whole = list(play(blocks, 3, 20, 7))
    assert list(play(blocks, 3, 20, 7, first_step=13)) == whole[13:]
    assert list(play(blocks, 3, 20, 8)) != whole


def test_without_memory_every_frame_is_a_clip() -> None:
    steps = list(play(single_frames([[range(0, 3)], [range(3, 5)]]), 1, 10, 0))
    assert all(frame.first for step in steps for frame in step)
    assert sorted(step[0].index for step in steps[:5]) == list(range(5)) == sorted(s[0].index for s in steps[5:])
