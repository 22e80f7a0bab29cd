"""What receiving costs: six cameras of 1920x1080 JPEG at 10 Hz, from the network to a normalised batch; no model.

Two ROS 2 nodes listen to the same publisher, one after the other, each in a process of its own:

* ours: this package's detector node: FrameAssembler, scaled decoding, undistortion and scaling, the student's batch and
  its normalisation. The rest of the model is left out.
* theirs: the usual Python way: rclpy, message_filters' ApproximateTimeSynchronizer, cv_bridge, cv2.resize,
  normalisation, stack.

CPU time is that of the whole process, by set that came through, between the first one and the last; medians of several
rounds. Needs a sourced ROS 2 workspace with message_filters and cv_bridge.

    python -m bench.ros_input [--seconds 12] [--rounds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from semlt3d_ros.core import rigid
from semlt3d_ros.core.boxes import Boxes3D
from semlt3d_ros.core.cameras import CameraModel
from semlt3d_ros.core.detections import Detections
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.core.imaging import ImageSpec
from semlt3d_ros.core.language import LanguageAnchors
from semlt3d_ros.core.taxonomy import CLASS_NAMES
from semlt3d_ros.messages import encode, topics
from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.decode import StampedTransform
from semlt3d_ros.middleware.port import LATCHED, QoS

SIZE = (1920, 1080)
BATCHES = {"224x96": ImageSpec(224, 96, 0.25), "704x256": ImageSpec(704, 256, 0.35)}
"""The model's images: the shipped checkpoint's, and those of the published models on ResNet-50."""
RATE_HZ = 10.0
MEAN, SCALE = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
_NEEDED = ("rclpy", "message_filters", "cv_bridge")


class Usage:
    """CPU seconds of this process between the first and the last set."""

    def __init__(self) -> None:
        self.sets = 0
        self._begin = self._end = 0.0

    def add(self) -> None:
        """One set is done."""
        spent = resource.getrusage(resource.RUSAGE_SELF)
        self._end = spent.ru_utime + spent.ru_stime
        if not self.sets:
            self._begin = self._end
        self.sets += 1

    def report(self) -> None:
        """Tell the parent."""
        per_set = (self._end - self._begin) / max(self.sets - 1, 1)
        print(json.dumps({"sets": self.sets, "cpu_ms_per_set": 1e3 * per_set}), flush=True)


class NoModel:
    """A detector that makes the batch and finds nothing."""

    model_version = "none"
    class_names = CLASS_NAMES

    def __init__(self, usage: Usage, image_spec: ImageSpec) -> None:
        import torch

        self.image_spec = image_spec
        self._usage = usage
        self._mean, self._scale = (torch.from_numpy(values) for values in (MEAN, SCALE))
        self.last_timings = {"batch": 0.0, "forward": 0.0, "decode": 0.0}
        self.memory_resets: Counter[str] = Counter()

    def detect(self, frame: Frame) -> Detections:
        """Make the batch as the student does, and normalise it."""
        from semlt3d_ros.student.batch import collate
        from semlt3d_ros.student.features import normalize

        normalize(
            collate([frame], self.image_spec.width, self.image_spec.height).images.flatten(0, 1),
            self._mean,
            self._scale,
        )
        self._usage.add()
        return Detections(frame.stamp, Boxes3D.empty(), np.zeros((0, len(CLASS_NAMES)), np.float32))

    def reset(self) -> None:
        """Nothing is remembered."""
        self._usage.sets = 0

    def set_vocabulary(self, anchors: LanguageAnchors | None) -> None:
        """There are no classes."""

    def move_to(self, device: str) -> None:
        """There is nothing to move."""

    def accelerator_memory(self) -> dict[str, float]:
        """None."""
        return {}


def run_ours(spec: ImageSpec) -> None:
    """This package's node."""
    from semlt3d_ros.nodes.ros_main import detector_main

    usage = Usage()
    arguments = ["ours", "--ros-args", "-r", "__node:=ours", "-p", "device:=cpu", "-p", "image_reliability:=reliable"]
    detector_main(arguments, lambda path, device: NoModel(usage, spec))
    usage.report()


def run_theirs(spec: ImageSpec) -> None:
    """The usual Python way."""
    import message_filters
    import rclpy
    from cv_bridge import CvBridge
    from rclpy.executors import ExternalShutdownException
    from sensor_msgs.msg import CompressedImage

    rclpy.init()
    node = rclpy.create_node("theirs")
    bridge, usage = CvBridge(), Usage()
    width, height = spec.width, spec.height
    whole = round(SIZE[1] * width / SIZE[0])

    def on_set(*messages: Any) -> None:
        images = []
        for message in messages:
            image = cv2.cvtColor(bridge.compressed_imgmsg_to_cv2(message), cv2.COLOR_BGR2RGB)
            image = cv2.resize(image, (width, whole), interpolation=cv2.INTER_AREA)[-height:]
            images.append((image.astype(np.float32) - MEAN) / SCALE)
        np.stack(images)
        usage.add()

    subscribers = [
        message_filters.Subscriber(node, CompressedImage, topics.camera_image_topic(name))
        for name in topics.NUSCENES_CAMERAS
    ]
    synchronizer = message_filters.ApproximateTimeSynchronizer(subscribers, 10, 0.05)
    synchronizer.registerCallback(on_set)
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(node)
    usage.report()


def run_publisher(seconds: float) -> None:
    """Six cameras, their calibration and the ego pose."""
    from semlt3d_ros.middleware.ros import RosMiddleware

    middleware = RosMiddleware("cameras")
    names = topics.NUSCENES_CAMERAS
    images = {
        name: middleware.create_publisher(topics.camera_image_topic(name), topics.COMPRESSED_IMAGE_TYPE, QoS(5))
        for name in names
    }
    infos = {
        name: middleware.create_publisher(topics.camera_info_topic(name), topics.CAMERA_INFO_TYPE) for name in names
    }
    static = middleware.create_publisher(topics.TF_STATIC, topics.TF_TYPE, LATCHED)
    poses = middleware.create_publisher(topics.TF, topics.TF_TYPE)
    middleware.create_subscription("/ours/long_tail", topics.LONG_TAIL_TYPE, lambda *_: None, raw=True)
    pictures = [_picture(index) for index in range(len(names))]
    camera = CameraModel(*SIZE, np.array([[1200.0, 0, 960], [0, 1200.0, 540], [0, 0, 1]]))
    if not middleware.spin(lambda: all(end.matched for end in images.values()), 60):
        raise SystemExit("nobody has listened within 60 s")
    middleware.spin(timeout_s=1.0)
    begin = middleware.now()
    mounts = [
        StampedTransform(topics.BASE_FRAME, name, begin, rigid.planar(1.0, 0.0, index * np.pi / 3))
        for index, name in enumerate(names)
    ]
    static.publish(encode.encode_transforms(mounts))
    for index in range(round(seconds * RATE_HZ)):
        due = begin + int(index * 1e9 / RATE_HZ)
        middleware.spin(timeout_s=max((due - middleware.now()) * 1e-9, 0.0))
        pose = StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, due, rigid.planar(index * 0.5, 0.0, 0.0))
        poses.publish(encode.encode_transforms([pose]))
        for name, picture in zip(names, pictures, strict=True):
            infos[name].publish(encode.encode_camera_info(camera, due, name))
            header = build_header(middleware.types, due, name)
            kind = middleware.types(topics.COMPRESSED_IMAGE_TYPE)
            images[name].publish(kind(header=header, format="jpeg", data=picture))
    middleware.spin(timeout_s=2.0)
    middleware.shutdown()


def _picture(seed: int) -> np.ndarray:
    """A JPEG with structure at all scales, of 210 kB like a camera's."""
    random = np.random.default_rng(seed)
    image = np.zeros((SIZE[1], SIZE[0], 3), np.float32)
    for scale in (8, 32, 128, 512):
        coarse = random.normal(size=(SIZE[1] // scale + 2, SIZE[0] // scale + 2, 3)).astype(np.float32)
        image += cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC) * 18
    return cv2.imencode(".jpg", np.clip(image + 110, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 75])[
        1
    ].ravel()


def measure(size: str, seconds: float, rounds: int, their_python: str) -> dict[str, Any]:
    """Run a publisher for each listener in turn, several times; the medians are compared."""
    environment = {**os.environ, "ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "OMP_NUM_THREADS": "1"}
    command = ["-m", "bench.ros_input", "--size", size, "--seconds", str(seconds), "--role"]
    results: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for role, python, end in (("ours", sys.executable, signal.SIGTERM), ("theirs", their_python, signal.SIGINT)):
            listener = subprocess.Popen([python, *command, role], env=environment, stdout=subprocess.PIPE, text=True)
            publisher = [sys.executable, *command, "publisher"]
            try:
                subprocess.run(publisher, env=environment, check=True, timeout=seconds + 120)
            finally:
                listener.send_signal(end)
            results[role].append(json.loads(listener.communicate(timeout=60)[0].splitlines()[-1]))
    sent = rounds * round(seconds * RATE_HZ)
    figures: dict[str, Any] = {"size": size, "sets_sent": sent}
    for role, all_rounds in results.items():
        spent = [result["cpu_ms_per_set"] for result in all_rounds]
        figures[f"{role}_cpu_ms_per_set"] = statistics.median(spent)
        figures[f"{role}_cpu_ms_per_set_rounds"] = spent
        figures[f"{role}_lost_share"] = 1 - sum(result["sets"] for result in all_rounds) / sent
    figures["ratio"] = figures["theirs_cpu_ms_per_set"] / figures["ours_cpu_ms_per_set"]
    return figures


def show(result: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title=f"six cameras, {SIZE[0]}x{SIZE[1]} JPEG, {RATE_HZ:g} Hz to {result['size']}")
    for heading in ("node", "CPU ms per set", "sets lost"):
        table.add_column(heading, justify="left" if heading == "node" else "right")
    for role, name in (("ours", "semlt3d_ros"), ("theirs", "message_filters + cv_bridge + cv2")):
        table.add_row(name, f"{result[f'{role}_cpu_ms_per_set']:.1f}", f"{result[f'{role}_lost_share']:.1%}")
    table.caption = f"{result['ratio']:.2f} times less CPU"
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=12.0, help="how long to publish to each, in each round")
    parser.add_argument("--rounds", type=int, default=5, help="how often")
    parser.add_argument("--size", choices=tuple(BATCHES), help="of the model's images; default: each in turn")
    parser.add_argument("--json", action="store_true", help="print figures as JSON")
    parser.add_argument(
        "--their-python",
        default=sys.executable,
        help="the peer's Python, where cv_bridge was built for another NumPy than this one's",
    )
    parser.add_argument("--role", choices=("ours", "theirs", "publisher"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        print(f"skipped: it needs a sourced ROS 2 workspace with {', '.join(missing)}")
    elif options.role == "ours":
        run_ours(BATCHES[options.size])
    elif options.role == "theirs":
        run_theirs(BATCHES[options.size])
    elif options.role == "publisher":
        run_publisher(options.seconds)
    else:
        for size in [options.size] if options.size else BATCHES:
            result = measure(size, options.seconds, options.rounds, options.their_python)
            print(json.dumps(result)) if options.json else show(result)


if __name__ == "__main__":
    main()
