"""Clips played side by side: whole, in order, each once per pass, the same after a resume."""

import itertools
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from semlt3d_ros.datasets.source import Part
from semlt3d_ros.training.streams import play, shares_of, single_frames


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
    steps = list(play([Part(blocks)], streams, 40, seed))
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
    whole = list(play([Part(blocks)], 3, 20, 7))
    assert list(play([Part(blocks)], 3, 20, 7, first_step=13)) == whole[13:]
    assert list(play([Part(blocks)], 3, 20, 8)) != whole


def test_without_memory_every_frame_is_a_clip() -> None:
    steps = list(play(single_frames([Part([[range(0, 3)], [range(3, 5)]])]), 1, 10, 0))
    assert all(frame.first for step in steps for frame in step)
    assert sorted(step[0].index for step in steps[:5]) == list(range(5)) == sorted(s[0].index for s in steps[5:])


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=6), min_size=2, max_size=4),
    shares=st.lists(st.sampled_from([None, 0.1, 0.25, 0.5]), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_every_source_gets_its_share_of_the_frames(lengths, shares, seed) -> None:
    ends = list(itertools.accumulate(map(sum, lengths)))
    parts = [
        Part([[range(c.start + end - sum(each), c.stop + end - sum(each)) for c in clips(each)]], share)
        for each, end, share in zip(lengths, ends, shares, strict=False)
    ]
    if all(part.share is None for part in parts):
        parts[0] = replace(parts[0], share=0.5)
    if sum(part.share or 0 for part in parts) >= 1:
        parts = [replace(part, share=part.share or 0.1) for part in parts]
    wanted = shares_of(parts)
    assert abs(sum(wanted) - 1) < 1e-9
    steps = list(play(parts, 2, 300, seed))
    played = [frame.index for step in steps for frame in step]
    for number, (share, end) in enumerate(zip(wanted, ends, strict=True)):
        count = sum(end - sum(lengths[number]) <= index < end for index in played)
        # Off by the clips that are played at the end, and by one that each source was given ahead of the others.
        assert abs(count - share * len(played)) <= 5 * (len(parts) + 2)
    assert list(play(parts, 2, 300, seed, first_step=170)) == steps[170:]


def test_shares_are_kept_from_the_first_steps_on_and_sources_without_one_divide_the_rest() -> None:
    parts = [
        Part([clips([1] * 10)], 0.5),
        Part([[range(10, 11)]]),
        Part([[range(11, 12), range(12, 13), range(13, 14)]]),
    ]
    assert shares_of(parts) == [0.5, 0.125, 0.375]
    played = [step[0].index for step in play(parts, 1, 16, 0)]
    assert sum(index < 10 for index in played) == 8 and sum(index == 10 for index in played) == 2
    assert sum(index < 10 for index in played[:4]) == 2


@settings(max_examples=30, deadline=None)
@given(weights=st.lists(st.floats(0.0, 3.0), min_size=2, max_size=6), seed=st.integers(0, 99))
def test_clips_come_as_often_as_their_weights_say(weights: list[float], seed: int) -> None:
    weights = [*weights, 1.0]
    part = Part([clips([2] * len(weights))], weights=weights)
    passes = 400
    played = [s[0].index // 2 for s in play([part], 1, int(2 * passes * sum(weights)), seed)]
    for number, weight in enumerate(weights):
        # Each pass rounds by chance: of many, the count lies within five standard deviations.
        assert abs(played.count(number) / 2 / passes - weight) <= 5 * 0.5 / passes**0.5 + 0.05 * max(1.0, weight)
    (single,) = single_frames([part])
    assert single.weights == [weight for weight in weights for _ in range(2)]
