"""Bags become training frames: the same that a detector sees, decoded once, in clips that cross no gap and no drive."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.classes import ABSENT, ClassInfo, ClassList
from semlt3d_ros.core.config import parse
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.labelled_region import LabelledRegion, ViewWindow
from semlt3d_ros.core.rigid import planar
from semlt3d_ros.core.taxonomy import CLASS_NAMES, LT3D
from semlt3d_ros.datasets.bag_decoding import decode_bag
from semlt3d_ros.datasets.bag_jobs import find_bags, jobs_of, refuse_overlap
from semlt3d_ros.datasets.opening import Frames, open_source
from semlt3d_ros.datasets.recorded import RecordedFrames
from semlt3d_ros.datasets.specs import DataSpec
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.encode import encode_sample
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.rig import rig_from_topics
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate

SPEC = ImageSpec(48, 24, 0.2)
FRAMES = 5


@pytest.fixture(scope="module")
def drives(tmp_path_factory) -> Path:
    """Two drives of five frames, half a second apart, one of them a folder."""
    folder = tmp_path_factory.mktemp("drives")
    for name, seed in (("a.mcap", 3), ("b", 4)):
        config = DriveConfig(seed, frames=FRAMES, interval_s=0.5, image_size=(96, 56), objects=(6, 8))
        simulate(folder / name, config, progress=False)
    return folder


def rewritten(bag: Path, out: Path, keep, added=()) -> Path:
    """A bag with the messages that ``keep`` says yes to, and added ones (topic, type, message, stamp)."""
    with BagSource(bag) as source, BagSink(out) as sink:
        for entry, message in decoded(source.messages(), FaultLog()):
            if keep(entry, message):
                sink.write(entry.topic, entry.type_name, message, entry.stamp)
        for topic, type_name, message, stamp in added:
            sink.write(topic, type_name, message, stamp)
    return out


def built(bag: Path) -> list:
    """The frames that ``semlt3d detect`` would look at, with points and truth."""
    with BagSource(bag) as source:
        builder = FrameBuilder(rig_from_topics(source.topics), SPEC, with_points=True, with_labels=True)
        frames = []
        for entry, message in decoded(source.messages(topics=list(builder.topics)), FaultLog()):
            frames += builder.add(entry.topic, entry.type_name, message)
        return frames + builder.flush()


def stamps_of(bag: Path) -> list[int]:
    return [frame.stamp for frame in built(bag)]


def test_training_sees_what_the_detector_sees(drives, tmp_path) -> None:
    source = open_source(DataSpec(bags=(str(drives / "*"),)), tmp_path, SPEC)
    wanted = [frame for name in ("a.mcap", "b") for frame in built(drives / name)]
    assert len(source) == 2 * FRAMES == len(wanted)
    for index, expected in enumerate(wanted):
        frame = source.frame(index)
        assert frame.stamp == expected.stamp and np.array_equal(frame.T_world_ego, expected.T_world_ego)
        assert [view.name for view in frame.views] == [view.name for view in expected.views]
        for view, other in zip(frame.views, expected.views, strict=True):
            assert np.array_equal(view.image, other.image) and view.stamp == other.stamp
            assert np.array_equal(view.camera.K, other.camera.K)
            assert np.array_equal(view.T_ego_camera, other.T_ego_camera)
        assert np.array_equal(frame.labels.boxes.centers, expected.labels.boxes.centers)
        assert np.array_equal(frame.labels.class_ids, expected.labels.class_ids)
        assert len(frame.points) == min(len(expected.points), 12_000)
        assert np.array_equal(source.labels(index).class_ids, expected.labels.class_ids)
    assert source.clips() == [[range(FRAMES), range(FRAMES, 2 * FRAMES)]]
    assert source.provenance == {"bags": ["a.mcap", "b"], "frames": 2 * FRAMES}


def test_whole_clouds_are_kept_where_they_are_asked_for(drives, tmp_path) -> None:
    spec = DataSpec(bags=(str(drives / "a.mcap"),), cloud_points=50_000)
    source = open_source(spec, tmp_path, SPEC)
    for index, expected in enumerate(built(drives / "a.mcap")):
        points = source.frame(index).points
        assert len(points) == len(expected.points) > 12_000
        assert np.abs(points.xyz - expected.points.xyz).max() < 0.003
        assert np.abs(points.intensity - expected.points.intensity).max() < 0.003
        assert np.abs(points.time - expected.points.time).max() < 1e-3
    (plain,), (whole,) = (jobs_of(each, tmp_path, SPEC) for each in (replace(spec, cloud_points=None), spec))
    assert plain.folder != whole.folder and whole.is_done and not plain.is_done


def test_a_long_recording_is_decoded_in_parts_that_fit_into_memory(drives, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("semlt3d_ros.datasets.bag_decoding._SHARD_BYTES", 1 << 20)
    (job,) = jobs_of(DataSpec(bags=(str(drives / "a.mcap"),)), tmp_path, ImageSpec(16, 8, 0.0))
    decode_bag(job)
    assert len(list(job.folder.glob("*.shard"))) >= 2


def test_a_bag_is_decoded_once_and_found_again_when_it_moves(drives, tmp_path, monkeypatch) -> None:
    (tmp_path / "x").mkdir()
    shutil.copy(drives / "a.mcap", tmp_path / "x" / "drive.mcap")
    spec = DataSpec(bags=(str(tmp_path / "x" / "*.mcap"),))
    before = open_source(spec, tmp_path / "data", SPEC).frame(2)
    monkeypatch.setattr("semlt3d_ros.datasets.recorded.decode_bag", lambda *_: pytest.fail("decoded again"))
    (tmp_path / "x").rename(tmp_path / "y")
    moved = replace(spec, bags=(str(tmp_path / "y"),), label_map="nuscenes_to_lt3d", clip_frames=2, share=0.5)
    after = open_source(moved, tmp_path / "data", SPEC)
    assert np.array_equal(after.frame(2).views[0].image, before.views[0].image)
    assert after.clips() == [[range(0, 1), range(1, 3), range(3, 5)]] and after.clips(whole=True) == [[range(5)]]
    (job,) = jobs_of(spec.__class__(bags=moved.bags), tmp_path / "data", SPEC)
    for other in (
        jobs_of(moved, tmp_path / "data", ImageSpec(48, 24, 0.1)),
        jobs_of(replace(moved, labels="/other/truth"), tmp_path / "data", SPEC),
        jobs_of(replace(moved, key_frames=False), tmp_path / "data", SPEC),
    ):
        assert other[0].folder != job.folder and not other[0].is_done


def test_an_interrupted_run_goes_on_with_the_bag_it_was_at(drives, tmp_path, monkeypatch) -> None:
    import semlt3d_ros.datasets.recorded as room

    spec, decode, begun = DataSpec(bags=(str(drives),)), room.decode_bag, []

    def stopped(job, progress):
        begun.append(job.bag.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        decode(job, progress)

    jobs = jobs_of(spec, tmp_path, SPEC)
    monkeypatch.setattr(room, "decode_bag", stopped)
    with pytest.raises(KeyboardInterrupt):
        room.decode_all(jobs, lambda done, of: None, processes=1)
    told = []
    room.decode_all(jobs, lambda done, of: told.append((done, of)), processes=1)
    assert begun == ["a.mcap", "b", "b"] and told[-1] == (2, 2) and sorted(told) == told
    assert len(RecordedFrames(jobs, 10)) == 2 * FRAMES


def test_clips_cross_no_gap_no_scene_and_no_missing_pose(drives, tmp_path) -> None:
    bag = drives / "a.mcap"
    stamps = stamps_of(bag)
    (tmp_path / "bags").mkdir()
    scenes = [
        (topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, encode_sample(SampleInfo("own", name), stamp, "base_link"), stamp)
        for stamp, name in zip(stamps, "xxyyy", strict=True)
    ]
    rewritten(bag, tmp_path / "bags" / "scenes.mcap", lambda entry, message: True, scenes)
    poseless = {topics.TF, topics.ODOMETRY}
    rewritten(bag, tmp_path / "bags" / "poseless.mcap", lambda entry, message: entry.topic not in poseless)
    config = DriveConfig(5, frames=4, interval_s=2.5, image_size=(96, 56), objects=(6, 8))
    simulate(tmp_path / "bags" / "slow.mcap", config, progress=False)

    def clips(name):
        return open_source(DataSpec(bags=(str(tmp_path / "bags" / name),)), tmp_path, SPEC).clips()[0]

    assert clips("scenes.mcap") == [range(2), range(2, 5)]
    assert clips("poseless.mcap") == [range(n, n + 1) for n in range(FRAMES)]
    assert clips("slow.mcap") == [range(n, n + 1) for n in range(4)]
    source = open_source(DataSpec(bags=(str(tmp_path / "bags" / "poseless.mcap"),)), tmp_path, SPEC)
    assert source.frame(0).T_world_ego is None


def test_frames_between_key_frames_are_for_the_memory_only(drives, tmp_path) -> None:
    bag = drives / "a.mcap"
    stamps = stamps_of(bag)
    key = {stamps[0], stamps[2], stamps[4]}
    (tmp_path / "bags").mkdir()
    rewritten(
        bag,
        tmp_path / "bags" / "key.mcap",
        lambda entry, message: not entry.topic.startswith("/ground_truth") or entry.stamp in key,
    )
    spec = DataSpec(bags=(str(tmp_path / "bags"),))
    source = open_source(spec, tmp_path, SPEC)
    assert [source.frame(index).stamp for index in range(len(source))] == sorted(key)
    assert [(fault.reason, fault.count) for fault in source.faults] == [("left_out", 2)]
    everything = open_source(replace(spec, key_frames=False), tmp_path, SPEC)
    assert [everything.frame(index).labels is None for index in range(5)] == [False, True, False, True, False]
    assert everything.labels(1) is None and everything.clips() == [[range(5)]]


def test_missing_cameras_and_labelled_regions_travel_along(drives, tmp_path) -> None:
    bag = drives / "a.mcap"
    stamps = stamps_of(bag)
    window = ViewWindow(planar(0.0, 0.0, 0.1), -0.5, -0.3, 0.5, 0.3)
    sample = encode_sample(SampleInfo("own", "s", region=LabelledRegion((window,), (), 40.0)), stamps[1], "base_link")
    rear = topics.camera_image_topic("CAM_BACK")
    path = rewritten(
        bag,
        tmp_path / "half.mcap",
        lambda entry, message: entry.topic != rear or entry.stamp < stamps[2],
        [(topics.TRUTH_SAMPLE, topics.SAMPLE_TYPE, sample, stamps[1])],
    )
    source = open_source(DataSpec(bags=(str(path),)), tmp_path, SPEC)
    assert source.frame(0).missing == () and source.frame(4).missing == ("CAM_BACK",)
    assert source.frame(0).region == LabelledRegion()
    assert source.frame(1).region.range_m == 40.0 and source.frame(1).region.windows[0].right == 0.5


def test_labels_become_the_students_classes(drives, tmp_path) -> None:
    spec = DataSpec(bags=(str(drives / "a.mcap"),))
    classes = ClassList("own", (ClassInfo("truck"), ClassInfo("car"), ClassInfo("tram")))
    with Frames([spec], tmp_path, SPEC, classes) as frames, Frames([spec], tmp_path, SPEC, LT3D) as same:
        for index in range(FRAMES):
            labels, truth = frames.frame(index).labels, same.frame(index).labels
            names = [CLASS_NAMES[number] for number in truth.class_ids]
            expected = [{"truck": 0, "car": 1}.get(name, ABSENT) for name in names]
            assert labels.class_ids.tolist() == expected == frames.labels(index).class_ids.tolist()
            assert labels.class_names == classes.names
    strange = ClassList("own", (ClassInfo("tram"),))
    with pytest.raises(ConfigurationError, match="none of the labels"):
        Frames([spec], tmp_path, SPEC, strange)


def test_bags_are_found_by_patterns_folders_and_their_own_files(drives, monkeypatch) -> None:
    monkeypatch.chdir(drives)
    both = [Path("a.mcap"), Path("b")]
    assert find_bags("*") == find_bags("**/*.mcap") == both and find_bags("b") == [Path("b")]
    assert find_bags(str(drives)) == [drives / "a.mcap", drives / "b"]
    with pytest.raises(ConfigurationError, match="there is no bag"):
        find_bags("c*")
    assert len(jobs_of(DataSpec(bags=("*", "a.mcap")), drives, SPEC)) == 2


def test_what_cannot_be_learnt_from_is_told(drives, tmp_path) -> None:
    bag = drives / "a.mcap"
    plain = rewritten(bag, tmp_path / "plain.mcap", lambda entry, message: not entry.topic.startswith("/ground_truth"))
    with pytest.raises(ConfigurationError, match=r"no ground truth to learn from: there is no topic /ground_truth"):
        open_source(DataSpec(bags=(str(plain),)), tmp_path, SPEC)
    images = {topics.camera_image_topic(name) for name in topics.NUSCENES_CAMERAS}
    blind = rewritten(bag, tmp_path / "blind.mcap", lambda entry, message: entry.topic not in images)
    with pytest.raises(ConfigurationError, match=r"blind\.mcap"):
        open_source(DataSpec(bags=(str(blind),)), tmp_path, SPEC)
    shutil.copy(bag, tmp_path / "copy.mcap")
    specs = [DataSpec(bags=(str(path),)) for path in (bag, tmp_path / "copy.mcap", drives / "b")]
    refuse_overlap(specs[:1], specs[2:])
    with pytest.raises(ConfigurationError, match=r"copy\.mcap: under train as well as under validation"):
        refuse_overlap(specs[:1], specs[1:2])


def test_the_parts_of_a_drive_are_kept_apart(drives, tmp_path) -> None:
    def spec(*part: float) -> DataSpec:
        return DataSpec(bags=(str(drives / "a.mcap"),), part=part)

    whole = open_source(spec(0.0, 1.0), tmp_path, SPEC)
    parts = [open_source(spec(*part), tmp_path, SPEC) for part in ((0.0, 0.6), (0.6, 1.0))]
    frames = [[index for block in part.clips() for clip in block for index in clip] for part in parts]
    count = len(whole)
    kept = round(0.6 * count)
    assert frames == [list(range(kept)), list(range(kept, count))]
    assert [part.provenance["frames"] for part in parts] == [len(each) for each in frames]
    assert len({folder.name for folder in (tmp_path / "bags").iterdir()}) == 1  # decoded once for both
    refuse_overlap([spec(0.0, 0.6)], [spec(0.6, 1.0)])
    with pytest.raises(ConfigurationError, match="keep them, or their parts, apart"):
        refuse_overlap([spec(0.0, 0.7)], [spec(0.6, 1.0)])
    with pytest.raises(ConfigurationError, match="no drive is long enough"):
        open_source(spec(0.0, 0.01), tmp_path, SPEC)


def test_recordings_are_learnt_from_without_labels(drives, tmp_path) -> None:
    bag = drives / "a.mcap"
    plain = rewritten(bag, tmp_path / "plain.mcap", lambda entry, message: not entry.topic.startswith("/ground_truth"))
    simulated = DataSpec.in_full({"simulate": {"first_seed": 7, "drives": 1, "frames": 2, "drives_per_shard": 1}})
    simulated = parse(DataSpec, {**simulated, "labelled": False}, "source")
    specs = [DataSpec(bags=(str(bag),)), *(DataSpec(bags=(str(each),), labelled=False) for each in (plain, bag))]
    with Frames([*specs, simulated], tmp_path, SPEC, LT3D) as frames:
        counts = [sum(len(clip) for block in part.blocks for clip in block) for part in frames.parts()]
        assert counts == [len(built(bag))] * 3 + [2]
        frames.wait(len(frames) - 1)
        for index in range(len(frames)):
            labelled = index < counts[0]
            frame = frames.frame(index)
            assert (frame.labels is not None) == (frames.labels(index) is not None) == labelled
            assert frame.points is not None and len(frame.points)
            assert labelled or frame.points.classes is None
    # What was decoded with labels and what without lie apart, also of one bag.
    assert len({job.folder for spec in specs for job in jobs_of(spec, tmp_path, SPEC)}) == 3


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({}, "give either simulate or bags"),
        ({"bags": ("x",), "share": 0.0}, "share must be above 0"),
        ({"bags": ("x",), "clip_frames": 0}, "clip_frames must be positive"),
        ({"bags": ("x",), "part": (0.5, 0.5)}, "part must be from and to"),
        ({"bags": ("x",), "part": (0.0, 1.2)}, "part must be from and to"),
        ({"bags": ("x",), "labels": "/x", "labelled": False}, "of no use where labelled is false"),
        ({"labels": "/x"}, "labels, key_frames, rig, clip_frames, part, cloud_points are entries of bags"),
    ],
)
def test_sources_name_what_is_wrong(entries, message) -> None:
    with pytest.raises(ConfigurationError, match=message):
        DataSpec(**entries)
