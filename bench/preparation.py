"""CPU time from six CompressedImage messages to the student's normalised batch, against the usual way with cv2.

The usual way decodes each 1920x1080 JPEG in full, converts BGR to RGB, resizes, converts to float, normalises,
transposes and stacks. Here a JPEG is decoded at the smallest scale that suffices, brought to size (and undistorted) as
uint8, stacked, and normalised as one small batch, which at run time the model does. Both ways run in turns in one
process; times are CPU times of this process with one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.messages.decode import compressed_image_size, decode_compressed_image
from semlt3d_ros.messages.encode import encode_compressed_image
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.sensing.preparation import ImagePreparation, ImageSpec

SIZE = (1920, 1080)
SPECS = (ImageSpec(448, 256), ImageSpec(224, 96, top_crop=0.25))
K = np.array([[930.0, 0.0, 959.5], [0.0, 930.0, 539.5], [0.0, 0.0, 1.0]])
CAMERAS = {
    "pinhole": CameraModel(*SIZE, K),
    "plumb_bob": CameraModel(*SIZE, K, "plumb_bob", np.array([-0.16, 0.01, -0.0003, 0.0, 0.01])),
}
MEAN = np.array([123.675, 116.28, 103.53], np.float32)
SCALE = 1 / np.array([58.395, 57.12, 57.375], np.float32)

RECORDING = Path(__file__).resolve().parents[2] / "shared" / "data" / "pandaset" / "002" / "camera"

Way = Callable[[list], NDArray[np.float32]]


def recorded_jpegs() -> list[bytes]:
    """One recorded JPEG of each of six cameras; empty where the recording is not at hand."""
    return [path.read_bytes() for path in sorted(RECORDING.glob("*/00.jpg"))][:6]


def textured_jpegs(seed: int = 0) -> list[bytes]:
    """Six street-like images: smooth regions, edges and fine texture, about 0.4 MB each as a JPEG of quality 90."""
    rng = np.random.default_rng(seed)
    jpegs = []
    for _ in range(6):
        image = np.full((SIZE[1], SIZE[0], 3), 128.0, np.float32)
        for cells in (8, 40, 200, 1000):
            coarse = rng.normal(0.0, 100.0 / cells**0.4, (cells * 9 // 16 + 1, cells, 3)).astype(np.float32)
            image += cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        message = encode_compressed_image(np.clip(image, 0, 255).astype(np.uint8), 0, "camera")
        jpegs.append(bytes(message.data))
    return jpegs


def usual_way(spec: ImageSpec) -> Way:
    """Decode in full, convert, resize, normalise each image as float, transpose, stack."""

    def run(messages: list) -> NDArray[np.float32]:
        images = []
        for message in messages:
            image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
            image = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (spec.width, spec.height))
            images.append(((image.astype(np.float32) - MEAN) * SCALE).transpose(2, 0, 1))
        return np.stack(images)

    return run


def package_way(spec: ImageSpec, camera: CameraModel) -> Way:
    """Decode at the scale that suffices, prepare as uint8, stack, normalise the small batch."""
    preparation = ImagePreparation(spec)

    def run(messages: list) -> NDArray[np.float32]:
        images = []
        for message in messages:
            assert compressed_image_size(message) == (camera.width, camera.height)
            images.append(preparation(decode_compressed_image(message, preparation.required_size(camera)), camera)[0])
        batch = np.stack(images)
        normalised = np.empty((len(batch), 3, *batch.shape[1:3]), np.float32)
        for channel in range(3):
            np.multiply(batch[..., channel], SCALE[channel], out=normalised[:, channel])
            normalised[:, channel] -= MEAN[channel] * SCALE[channel]
        return normalised

    return run


def cpu_ms(ways: dict[str, Way], messages: list, repeats: int) -> dict[str, float]:
    """Median CPU milliseconds per call of each way, called in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way(messages)
    for _ in range(repeats):
        for name, way in ways.items():
            start = time.process_time()
            way(messages)
            times[name].append(1000 * (time.process_time() - start))
    return {name: statistics.median(values) for name, values in times.items()}


def measure(repeats: int) -> dict:
    """All figures: CPU milliseconds per six-camera set, by size of the student's images."""
    recorded = recorded_jpegs()
    jpegs = recorded or textured_jpegs()
    build, header = message_class("sensor_msgs/msg/CompressedImage"), message_class("std_msgs/msg/Header")
    stamp = message_class("builtin_interfaces/msg/Time")(sec=0, nanosec=0)
    messages = [
        build(header=header(stamp=stamp, frame_id="camera"), format="jpeg", data=np.frombuffer(jpeg, np.uint8))
        for jpeg in jpegs
    ]
    rows = []
    for spec in SPECS:
        ways = {"usual": usual_way(spec), **{name: package_way(spec, camera) for name, camera in CAMERAS.items()}}
        times = cpu_ms(ways, messages, repeats)
        rows.append(
            {
                "width": spec.width,
                "height": spec.height,
                "cpu_ms": times,
                "ratio": {name: times["usual"] / times[name] for name in CAMERAS},
            }
        )
    return {
        "images": "recorded" if recorded else "textured noise",
        "jpeg_kb": round(statistics.mean(map(len, jpegs)) / 1000),
        "repeats": repeats,
        "sets": rows,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.preparation", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--repeats", type=int, default=15, help="calls of each way (default 15)")
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    result = measure(arguments.repeats)
    if arguments.json:
        print(json.dumps(result))
        return
    table = Table(
        "student's images", "usual way", "pinhole", "plumb_bob", "ratio",
        title=f"CPU ms per set of six 1920x1080 JPEGs ({result['images']}, {result['jpeg_kb']} kB each)",
    )  # fmt: skip
    for row in result["sets"]:
        times, ratio = row["cpu_ms"], row["ratio"]
        table.add_row(
            f"{row['width']}x{row['height']}",
            *(f"{times[name]:.1f}" for name in ("usual", "pinhole", "plumb_bob")),
            " / ".join(f"{ratio[name]:.2f}" for name in CAMERAS),
        )
    Console().print(table)


if __name__ == "__main__":
    main()
