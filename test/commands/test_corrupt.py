"""semlt3d corrupt on real bags: images change, and nothing else does."""

import json

import cv2
import numpy as np
import pytest

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.cli import main
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.corruptions.benchmarks import Corruptor, corruption_named
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_compressed_image, decode_image, decode_transforms
from semlt3d_ros.messages.encode import encode_image
from semlt3d_ros.messages.reencode import with_pixels
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.simulate import simulate

FRAMES = 2


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    out = tmp_path_factory.mktemp("drive") / "drive.mcap"
    simulate(out, DriveConfig(5, frames=FRAMES, image_size=(96, 56), objects=(6, 8)), progress=False)
    return out


def corrupt(bag, out, *words) -> int:
    return main(["corrupt", str(bag), "-o", str(out), *map(str, words)])


def entries(bag) -> list:
    with BagSource(bag) as source:
        return [(entry.topic, entry.type_name, entry.stamp, bytes(entry.data)) for entry in source.messages()]


def test_images_change_and_all_else_stays(bag, tmp_path, capsys) -> None:
    out = tmp_path / "fog.mcap"
    assert corrupt(bag, out, "--corruption", "fog", "--severity", 2, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "images": 6 * FRAMES, "left_as_they_are": 0, "incomplete": [], "faults": [],
    }  # fmt: skip
    before, after = entries(bag), entries(out)
    assert [each[:3] for each in before] == [each[:3] for each in after]
    for (topic, kind, _, old), (*_, new) in zip(before, after, strict=True):
        assert (old == new) == (kind != topics.COMPRESSED_IMAGE_TYPE), topic
    # The same seed gives the same bag, another one another.
    corrupt(bag, tmp_path / "again.mcap", "--corruption", "fog", "--severity", 2)
    corrupt(bag, tmp_path / "other.mcap", "--corruption", "fog", "--severity", 2, "--seed", 1)
    assert entries(tmp_path / "again.mcap") == after != entries(tmp_path / "other.mcap")


def test_what_is_written_is_read_again_and_detected_in(bag, tmp_path, capsys) -> None:
    out = tmp_path / "crash.mcap"
    assert corrupt(bag, out, "--corruption", "camera_crash", "--severity", 3) == 0
    assert f"{6 * FRAMES} images corrupted" in capsys.readouterr().out
    black = set()
    with BagSource(out) as source:
        for entry, message in decoded(source.messages(), FaultLog()):
            if entry.type_name == topics.COMPRESSED_IMAGE_TYPE:
                image = decode_compressed_image(message)
                assert image.shape == (56, 96, 3)
                black |= {entry.topic} if image.max() < 8 else set()
    assert 1 <= len(black) <= 5


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "rgba8", "bgra8", "mono8", "bayer_rggb8", "bayer_gbrg8"])
def test_raw_images_keep_their_encoding(encoding) -> None:
    grey = np.repeat(np.full((6, 8, 1), 90, np.uint8), 3, axis=2)
    message = encode_image(grey, 5, "camera")
    message.encoding = encoding
    changed = with_pixels(message, topics.IMAGE_TYPE, grey + 30)
    assert changed.encoding == encoding and changed.header.frame_id == "camera"
    assert np.abs(decode_image(changed).astype(int) - 120).max() <= 1


def test_colours_stay_in_their_places() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0], image[..., 2] = 200, 40
    for encoding in ("rgb8", "bgr8", "rgba8", "bgra8", "bayer_bggr8"):
        message = encode_image(image, 5, "camera")
        message.encoding = encoding
        again = decode_image(with_pixels(message, topics.IMAGE_TYPE, image))
        assert np.abs(again[2:-2, 2:-2].astype(int) - image[2:-2, 2:-2]).max() <= 2, encoding
    message.encoding = "yuv422"
    assert with_pixels(message, topics.IMAGE_TYPE, image).encoding == "rgb8"


def test_pngs_stay_pngs_and_what_cannot_be_read_stays(bag, tmp_path, capsys) -> None:
    mixed = tmp_path / "mixed.mcap"
    with BagSource(bag) as source, BagSink(mixed) as sink:
        count = 0
        for entry, message in decoded(source.messages(), FaultLog()):
            if entry.type_name == topics.COMPRESSED_IMAGE_TYPE:
                count += 1
                if count == 1:
                    picture = cv2.cvtColor(decode_compressed_image(message), cv2.COLOR_RGB2BGR)
                    message.data = np.frombuffer(cv2.imencode(".png", picture)[1].tobytes(), np.uint8)
                if count == 2:
                    message.data = np.frombuffer(b"no image", np.uint8)
            sink.write(entry.topic, entry.type_name, message, entry.stamp)
    out = tmp_path / "out.mcap"
    assert corrupt(mixed, out, "--corruption", "snow", "--severity", 1, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["images"] == 6 * FRAMES - 1 and told["left_as_they_are"] == 1 and len(told["faults"]) == 1
    kinds = [data[-40:] and data for _, kind, _, data in entries(out) if kind == topics.COMPRESSED_IMAGE_TYPE]
    assert sum(b"\x89PNG" in data for data in kinds) == 1 and sum(b"no image" in data for data in kinds) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--corruption", "hail", "--severity", 1], "corruption 'hail' is not known; use one of brightness"),
        (["--corruption", "fog", "--severity", 9], "has severities 1 to 3, not 9"),
    ],
)
def test_what_there_is_not_is_named(bag, tmp_path, capsys, words, message) -> None:
    assert corrupt(bag, tmp_path / "out.mcap", *words) != 0
    assert message in capsys.readouterr().err


def test_a_recording_is_never_written_over(bag, tmp_path) -> None:
    copy = tmp_path / "drive.mcap"
    copy.write_bytes(bag.read_bytes())
    assert corrupt(copy, copy, "--corruption", "fog", "--severity", 1, "--overwrite") != 0
    assert copy.read_bytes() == bag.read_bytes()


def mounts(bag) -> dict:
    with BagSource(bag) as source:
        messages = [message for _, message in decoded(source.messages(topics=[topics.TF_STATIC]), FaultLog())]
    return {item.child: item.matrix for message in messages for item in decode_transforms(message)}


def test_cameras_that_sit_elsewhere_are_so_in_tf_alone(bag, tmp_path, capsys) -> None:
    out = tmp_path / "moved.mcap"
    assert corrupt(bag, out, "--corruption", "spatial_misalignment", "--severity", 3) == 0
    assert "messages with transforms corrupted" in capsys.readouterr().out
    for (topic, kind, _, old), (*_, new) in zip(entries(bag), entries(out), strict=True):
        assert old == new or kind == topics.TF_TYPE, topic
    before, after = mounts(bag), mounts(out)
    corruptor = Corruptor(corruption_named("spatial_misalignment"), 3, topics.NUSCENES_CAMERAS)
    for name in before:
        wanted = before[name] @ corruptor.mounting(name) if name in topics.NUSCENES_CAMERAS else before[name]
        assert np.allclose(after[name], wanted, atol=1e-9)
    assert not np.allclose(after["CAM_FRONT"], before["CAM_FRONT"])
