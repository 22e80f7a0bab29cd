"""A simulated drive that never ends, published set by set at a steady rate; and when its sets were answered.

The drive goes to and fro, so that poses never jump, and its stamps are those of now, so that it never begins anew.
"""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass, field
from pathlib import Path

from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.building import build_time
from semlt3d_ros.messages.typestore import Serialized, deserialize, message_class, serialize
from semlt3d_ros.middleware.port import LATCHED, Middleware, Publisher, QoS
from semlt3d_ros.simulation.drive import DriveConfig
from semlt3d_ros.simulation.lidar import LidarConfig
from semlt3d_ros.simulation.simulate import simulate

_TRUTH = (topics.TRUTH_LONG_TAIL, topics.TRUTH_OBJECTS, topics.TRUTH_SAMPLE)
_STAMP = struct.Struct("<iI")
_STAMP_AT = 4
"""Of a message that begins with a header, after the encapsulation's four bytes."""


def simulated(folder: Path, image_width: int, beams: int, frames: int = 20) -> Path:
    """A drive of six cameras and a LiDAR in ``folder``; simulated where it is not there yet.

    Args:
        folder: where it is kept.
        image_width: pixels; images are 7 to 4, as the demo's.
        beams: of the LiDAR; a set is about as large as its cloud.
        frames: before the drive turns round.
    """
    bag = folder / f"drive_{image_width}_{beams}.mcap"
    if not bag.is_file():
        size = (image_width, round(image_width * 4 / 7))
        simulate(bag, DriveConfig(7, frames=frames, image_size=size, lidar=LidarConfig(beams=beams)))
    return bag


@dataclass
class Heard:
    """Which sets were sent and answered, on the clock of this process.

    Attributes:
        sent: when the last image of a set was given to the middleware, seconds, by the set's stamp.
        answered: when its detections came, seconds.
    """

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)

    def take(self, since: int = 0) -> tuple[int, list[float]]:
        """Sets sent after a stamp, and the seconds that each answered one of them took."""
        sent = {stamp: at for stamp, at in self.sent.items() if stamp > since}
        return len(sent), [self.answered[stamp] - at for stamp, at in sent.items() if stamp in self.answered]


class SteadyDrive:
    """Publishes a bag's sets for ever.

    Args:
        middleware: where to; its spinning is what time passes with.
        bag: with the default rig's topics.
        rate_hz: sets in a second.
    """

    def __init__(self, middleware: Middleware, bag: Path, rate_hz: float) -> None:
        self._middleware, self._period_s = middleware, 1.0 / rate_hz
        self._sets, latched, kinds = _read(bag)
        self._publishers: dict[str, Publisher] = {
            topic: middleware.create_publisher(topic, kind, LATCHED if topic == topics.TF_STATIC else QoS(depth=50))
            for topic, kind in kinds.items()
        }
        for topic, data in latched:
            self._publishers[topic].publish(data)
        self.heard = Heard()
        middleware.create_subscription(topics.LONG_TAIL, topics.LONG_TAIL_TYPE, self._on_answer, raw=True)
        for topic in (topics.DETECTIONS, topics.MARKERS):  # what nobody listens to is not made
            middleware.create_subscription(topic, topics.default_type(topic) or "", lambda *_: None, raw=True)
        self._next = time.monotonic()
        self._number = 0

    def run(self, seconds: float) -> int:
        """Publish for so many seconds; returns the stamp before its first set. Goes on in step with the call before."""
        begin = time.time_ns()
        end = time.monotonic() + seconds
        self._next = max(self._next, time.monotonic())
        while self._next < end and not self._middleware.stopped:
            self._middleware.spin(timeout_s=self._next - time.monotonic())
            self._send(time.time_ns())
            # A set that was late is not made up for: the rate is a limit, and what was sent is counted.
            self._next = max(self._next + self._period_s, time.monotonic() - self._period_s)
        self._middleware.spin(timeout_s=end - time.monotonic())
        return begin

    def _send(self, stamp: int) -> None:
        last = len(self._sets) - 1
        turn = self._number % (2 * last) if last else 0
        self._number += 1
        for topic, kind, data in self._sets[min(turn, 2 * last - turn)]:
            self._publishers[topic].publish(with_stamp(kind, data, stamp))
        self.heard.sent[stamp] = time.monotonic()

    def _on_answer(self, data: bytes, _: int) -> None:
        sec, nanosec = _STAMP.unpack_from(data, _STAMP_AT)
        self.heard.answered[sec * 1_000_000_000 + nanosec] = time.monotonic()


def with_stamp(kind: str, data: bytes, stamp: int) -> Serialized:
    """A message of a simulated drive with another stamp.

    Args:
        kind: type of the message, which has a header at its beginning, or is tf.
        data: its CDR bytes.
        stamp: nanoseconds.
    """
    if kind == topics.TF_TYPE:
        message = deserialize(data, kind)
        for each in message.transforms:
            each.header.stamp = build_time(message_class, stamp)
        return Serialized(serialize(message, kind), kind)
    patched = bytearray(data)
    _STAMP.pack_into(patched, _STAMP_AT, *divmod(stamp, 1_000_000_000))
    return Serialized(bytes(patched), kind)


def _read(bag: Path) -> tuple[list[list[tuple[str, str, bytes]]], list[tuple[str, bytes]], dict[str, str]]:
    """The bag's sets, images last; what is latched; and the type of each topic."""
    latched: list[tuple[str, bytes]] = []
    sets: dict[int, list[tuple[str, str, bytes]]] = {}
    kinds: dict[str, str] = {}
    with BagSource(bag) as source:
        for message in source.messages():
            if message.topic in _TRUTH:
                continue
            kinds[message.topic] = message.type_name
            if message.topic == topics.TF_STATIC:
                latched.append((message.topic, bytes(message.data)))
            else:
                sets.setdefault(message.stamp, []).append((message.topic, message.type_name, bytes(message.data)))
    ordered = [sorted(sets[stamp], key=lambda each: "/image" in each[0]) for stamp in sorted(sets)]
    return ordered, latched, kinds
