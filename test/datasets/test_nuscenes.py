"""nuScenes into bags: made-up drives in nuScenes' own layout, held against its development kit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes.nuscenes import NuScenes
from pyquaternion import Quaternion

from bench.nuscenes_layout import RADARS, Drive, token
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core import rigid
from semlt3d_ros.core.classes import load_class_list
from semlt3d_ros.core.label_map import columns_for
from semlt3d_ros.core.taxonomy import LT3D
from semlt3d_ros.datasets.importing import Imported, import_scenes
from semlt3d_ros.datasets.nuscenes import open_nuscenes
from semlt3d_ros.datasets.nuscenes_annotations import CATEGORIES
from semlt3d_ros.datasets.nuscenes_folder import open_folder
from semlt3d_ros.messages import decode, topics
from semlt3d_ros.messages.buffers import byte_buffer
from semlt3d_ros.sensing.frame_builder import FrameBuilder
from semlt3d_ros.sensing.preparation import ImageSpec
from semlt3d_ros.sensing.rig import rig_from_topics
from semlt3d_ros.sensing.transform_tree import TransformTree

SAMPLES = 9
SCENES = ["scene-0001", "scene-0002"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nuscenes")
    Drive(samples=SAMPLES, objects=8, more_categories=("flat.driveable_surface", "noise", "vehicle.ego")).write(folder)
    return folder


@pytest.fixture(scope="module")
def kit(root: Path) -> NuScenes:
    return NuScenes("v1.0-mini", str(root), verbose=False)


def imported(root: Path, out: Path, scenes: list[str] | None = None, **options: Any) -> Imported:
    folder = open_folder(root)
    return import_scenes(open_nuscenes(folder, scenes or list(folder.scenes), **options), out)


@pytest.fixture(scope="module")
def bags(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bags")
    answer = imported(root, out)
    assert not list(answer.faults)
    return out


def messages_of(bag: Path, topic: str) -> list[Any]:
    with BagSource(bag) as source:
        return [entry.message() for entry in source.messages([topic])]


def tree_of(bag: Path) -> TransformTree:
    tree = TransformTree(history_s=1e6)
    with BagSource(bag) as source:
        for entry in source.messages([topics.TF, topics.TF_STATIC]):
            for item in decode.decode_transforms(entry.message()):
                tree.add(item.parent, item.child, item.stamp, item.matrix, entry.topic == topics.TF_STATIC)
    return tree


def files_of(kit: NuScenes, scene: str, channel: str, key_only: bool = False) -> list[dict[str, Any]]:
    """The rows of a sensor in a scene, in the order of their times."""
    rows = [
        row
        for row in kit.sample_data
        if row["channel"] == channel
        and kit.get("scene", kit.get("sample", row["sample_token"])["scene_token"])["name"] == scene
        and (row["is_key_frame"] or not key_only)
    ]
    return sorted(rows, key=lambda row: row["timestamp"])


def matrix(record: dict[str, Any]) -> rigid.Matrix:
    return rigid.transform(record["translation"], Quaternion(record["rotation"]).rotation_matrix)


@pytest.mark.parametrize("scene", SCENES)
def test_images_are_the_files_as_they_are_at_their_own_stamps(
    kit: NuScenes, root: Path, bags: Path, scene: str
) -> None:
    for camera in topics.NUSCENES_CAMERAS:
        rows = files_of(kit, scene, camera)
        images = messages_of(bags / f"{scene}.mcap", topics.camera_image_topic(camera))
        infos = messages_of(bags / f"{scene}.mcap", topics.camera_info_topic(camera))
        assert len(rows) == len(images) == len(infos) == 6 * SAMPLES
        for row, image, info in zip(rows, images, infos, strict=True):
            assert bytes(image.data) == (root / row["filename"]).read_bytes()
            assert decode.stamp_of(image) == decode.stamp_of(info) == row["timestamp"] * 1000
            calibration = kit.get("calibrated_sensor", row["calibrated_sensor_token"])
            np.testing.assert_allclose(decode.decode_calibration(info).camera.K, calibration["camera_intrinsic"])


@pytest.mark.parametrize("scene", SCENES)
def test_transforms_place_every_sensor_where_the_development_kit_does(kit: NuScenes, bags: Path, scene: str) -> None:
    tree = tree_of(bags / f"{scene}.mcap")
    for channel, frame in (*((name, name) for name in topics.NUSCENES_CAMERAS), ("LIDAR_TOP", topics.LIDAR_FRAME)):
        for row in files_of(kit, scene, channel):
            pose = matrix(kit.get("ego_pose", row["ego_pose_token"]))
            place = pose @ matrix(kit.get("calibrated_sensor", row["calibrated_sensor_token"]))
            found = tree.lookup(topics.FIXED_FRAME, frame, row["timestamp"] * 1000)
            np.testing.assert_allclose(found, place, atol=1e-9)


def test_sweeps_are_the_points_of_the_files(kit: NuScenes, root: Path, bags: Path) -> None:
    clouds = messages_of(bags / "scene-0001.mcap", topics.POINTS)
    rows = files_of(kit, "scene-0001", "LIDAR_TOP")
    assert len(clouds) == len(rows) == 10 * SAMPLES
    for row, message in zip(rows, clouds, strict=True):
        values = np.fromfile(root / row["filename"], np.float32).reshape(-1, 5)
        cloud = decode.decode_point_cloud(message)
        assert decode.stamp_of(message) == row["timestamp"] * 1000
        np.testing.assert_array_equal(cloud.xyz, values[:, :3])
        assert cloud.intensity is not None
        np.testing.assert_allclose(cloud.intensity, values[:, 3] / 255, atol=1e-6)
        ring = message.fields[-1]
        assert (ring.name, ring.datatype) == ("ring", 4)
        data = byte_buffer(message.data).reshape(-1, message.point_step)
        rings = np.ascontiguousarray(data[:, ring.offset : ring.offset + 2]).view("<u2")[:, 0]
        np.testing.assert_array_equal(rings, values[:, 4].astype(int))


@pytest.mark.parametrize("scene", SCENES)
def test_truth_is_that_of_the_development_kit(kit: NuScenes, bags: Path, scene: str) -> None:
    bag = bags / f"{scene}.mcap"
    tree = tree_of(bag)
    truth, samples = messages_of(bag, topics.TRUTH_LONG_TAIL), messages_of(bag, topics.TRUTH_SAMPLE)
    fronts = files_of(kit, scene, "CAM_FRONT", key_only=True)
    assert len(truth) == len(samples) == len(fronts) == SAMPLES
    speeds = []
    for message, said, front in zip(truth, samples, fronts, strict=True):
        labels, stamp = decode.decode_labels(message)
        info = decode.decode_sample(said)
        assert stamp == decode.stamp_of(said) == front["timestamp"] * 1000
        assert (info.data_set, info.scene, info.token) == ("nuScenes", scene, front["sample_token"])
        pose = tree.lookup(topics.FIXED_FRAME, topics.BASE_FRAME, stamp)
        world = labels.boxes.moved(pose)
        annotations = {
            row["instance_token"]: row
            for row in (kit.get("sample_annotation", key) for key in kit.get("sample", info.token)["anns"])
        }
        assert set(labels.track_ids) == set(annotations)
        for row, identity in enumerate(labels.track_ids):
            record = annotations[identity]
            box = kit.get_box(record["token"])
            assert labels.class_names[labels.class_ids[row]] == record["category_name"]
            np.testing.assert_allclose(world.centers[row], box.center, atol=1e-9)
            np.testing.assert_allclose(labels.boxes.sizes[row], box.wlh[[1, 0, 2]])
            heading = rigid.yaw_from_rotation(box.rotation_matrix)
            assert abs(rigid.wrap_angle(world.yaw[row] - heading)) < 1e-3  # boxes stay upright on a tilted vehicle
            velocity = np.linalg.inv(pose[:3, :3]) @ kit.box_velocity(record["token"])
            # The development kit takes stamps in seconds, which doubles hold to 0.2 microseconds.
            np.testing.assert_allclose(labels.boxes.velocity[row], velocity[:2], rtol=1e-5, atol=1e-5)
            speeds.append(labels.boxes.velocity[row, 0])
            assert labels.lidar_points[row] == record["num_lidar_pts"]
            names = [kit.get("attribute", key)["name"] for key in record["attribute_tokens"]]
            assert info.attributes[row] == (names[0] if names else "")
            low, high = {"1": (0, 0.4), "2": (0.4, 0.6), "3": (0.6, 0.8), "4": (0.8, 1)}[record["visibility_token"]]
            assert low < info.visibility[row] < high
    assert 0 < np.isnan(speeds).sum() < len(speeds) / 2, "objects seen once, and again after a long while"


def test_boxes_are_where_the_development_kit_gives_them_to_the_front_camera(kit: NuScenes, bags: Path) -> None:
    """Boxes in the ego frame at the front camera's stamp, carried on by the mount, are those it draws in the image."""
    truth = messages_of(bags / "scene-0002.mcap", topics.TRUTH_LONG_TAIL)
    for message, front in zip(truth, files_of(kit, "scene-0002", "CAM_FRONT", key_only=True), strict=True):
        labels, _ = decode.decode_labels(message)
        mount = matrix(kit.get("calibrated_sensor", front["calibrated_sensor_token"]))
        centers = rigid.apply(rigid.inverse(mount), labels.boxes.centers)
        _, boxes, _ = kit.get_sample_data(front["token"], box_vis_level=0)
        by_token = {kit.get("sample_annotation", box.token)["instance_token"]: box for box in boxes}
        for center, identity in zip(centers, labels.track_ids, strict=True):
            if identity in by_token:
                np.testing.assert_allclose(center, by_token.pop(identity).center, atol=1e-8)
        assert not by_token


def test_labels_are_the_categories_of_boxes_and_map_to_both_lists(bags: Path) -> None:
    (labels, _) = decode.decode_labels(messages_of(bags / "scene-0001.mcap", topics.TRUTH_LONG_TAIL)[0])
    assert labels.class_names == CATEGORIES, "not those of segmented points"
    for target in (LT3D, load_class_list("nuscenes")):
        assert max(columns_for(labels.class_names, target)) == len(target) - 1


def test_detections_of_key_frames_find_their_truth(bags: Path) -> None:
    """What a detector answers has the stamp of its frame: frames of whole sets at key frames have labels."""
    with BagSource(bags / "scene-0001.mcap") as source:
        builder = FrameBuilder(rig_from_topics(source.topics), ImageSpec(32, 18), with_points=True, with_labels=True)
        frames = [
            frame
            for entry in source.messages(builder.topics)
            for frame in builder.add(entry.topic, entry.type_name, entry.message())
        ]
        frames += builder.flush()
    assert set(builder.drops) <= {"points_unmatched"} and all(not frame.missing for frame in frames)
    assert len(frames) == 6 * SAMPLES
    labelled = [frame for frame in frames if frame.labels is not None]
    assert len(labelled) == SAMPLES
    for frame in labelled:
        spread = [abs(view.stamp - frame.stamp) for view in frame.views]
        assert max(spread) < 40_000_000, "the images of the key frame, not their neighbours"


def test_radars_are_no_part_of_the_bag(bags: Path) -> None:
    with BagSource(bags / "scene-0001.mcap") as source:
        assert not any(radar in topic for topic in source.topics for radar in RADARS)


def test_key_frames_alone(kit: NuScenes, root: Path, tmp_path: Path) -> None:
    answer = imported(root, tmp_path / "one.mcap", ["scene-0002"], key_frames=True)
    (summary,) = answer.bags
    assert (summary["frames"], summary["labelled"], summary["images"], summary["sweeps"]) == (
        SAMPLES,
        SAMPLES,
        6 * SAMPLES,
        SAMPLES,
    )
    stamps = {decode.stamp_of(message) for message in messages_of(tmp_path / "one.mcap", topics.POINTS)}
    assert stamps == {row["timestamp"] * 1000 for row in files_of(kit, "scene-0002", "LIDAR_TOP", key_only=True)}


@pytest.mark.parametrize(
    ("frames", "expected"), [(slice(2, 4), [2, 3]), (slice(7, 50), [7, 8]), (slice(-1, None), [8])]
)
def test_some_frames(kit: NuScenes, root: Path, tmp_path: Path, frames: slice, expected: list[int]) -> None:
    imported(root, tmp_path / "one.mcap", ["scene-0001"], frames=frames)
    samples = [decode.decode_sample(message) for message in messages_of(tmp_path / "one.mcap", topics.TRUTH_SAMPLE)]
    assert [sample.token for sample in samples] == [token("sample", "scene-0001", number) for number in expected]
    assert len(messages_of(tmp_path / "one.mcap", topics.POINTS)) == 10 * len(expected)


def test_velocities_do_not_depend_on_which_frames_are_taken(root: Path, bags: Path, tmp_path: Path) -> None:
    imported(root, tmp_path / "one.mcap", ["scene-0001"], frames=slice(3, 4), key_frames=True)
    part = decode.decode_labels(messages_of(tmp_path / "one.mcap", topics.TRUTH_LONG_TAIL)[0])[0]
    whole = decode.decode_labels(messages_of(bags / "scene-0001.mcap", topics.TRUTH_LONG_TAIL)[3])[0]
    np.testing.assert_array_equal(part.boxes.velocity, whole.boxes.velocity)
    assert np.isfinite(part.boxes.velocity).any()


def test_odometry_tells_the_speed_along_the_vehicle(bags: Path) -> None:
    for message in messages_of(bags / "scene-0001.mcap", topics.ODOMETRY):
        assert message.twist.twist.linear.x == pytest.approx(8.0, abs=0.05)
        assert message.twist.twist.angular.z == pytest.approx(0.2, abs=0.01)


def test_tables_of_a_test_split_give_samples_without_truth(tmp_path: Path) -> None:
    Drive(scenes=1, samples=3, truth=False, sweeps=False, version="v1.0-test").write(tmp_path / "in")
    answer = imported(tmp_path / "in", tmp_path / "one.mcap")
    assert (answer.bags[0]["labelled"], answer.bags[0]["images"]) == (0, 18) and not list(answer.faults)
    assert not messages_of(tmp_path / "one.mcap", topics.TRUTH_LONG_TAIL)
    samples = [decode.decode_sample(message) for message in messages_of(tmp_path / "one.mcap", topics.TRUTH_SAMPLE)]
    assert [sample.token for sample in samples] == [token("sample", "scene-0001", number) for number in range(3)]


def test_the_summary_is_json(root: Path, tmp_path: Path) -> None:
    answer = imported(root, tmp_path / "out", key_frames=True)
    summary = json.loads(json.dumps(answer.to_json()))
    assert summary["frames"] == 2 * SAMPLES and summary["images"] == 12 * SAMPLES
    assert summary["boxes"] == {
        label: sum(bag["boxes"][label] for bag in summary["bags"]) for label in summary["boxes"]
    }
