"""A recorder to be killed: ``killed_recorder.py EVENTS SEED`` records numbered messages into short events, for ever."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from semlt3d_ros.messages.typestore import message_class, serialize
from semlt3d_ros.recording import writer as writer_module
from semlt3d_ros.recording.quota import Quota
from semlt3d_ros.recording.recorder import Recorder, Spans
from semlt3d_ros.recording.ring import Ring
from semlt3d_ros.recording.watching import Firing
from semlt3d_ros.recording.writer import EventWriter

TEXT = "std_msgs/msg/String"


def main() -> None:
    folder, choice = Path(sys.argv[1]), random.Random(int(sys.argv[2]))
    writer_module._LOOK_BYTES = 20_000
    writer = EventWriter(folder, Quota(400_000, 0), 64 << 20)
    recorder = Recorder(Ring(0.1, 64 << 20), writer, Spans(0.1, 0.1, 0.5))
    number = 0
    while True:
        data = serialize(message_class(TEXT)(data=f"{number:09d}" + "x" * choice.randrange(3000)), TEXT)
        recorder.add("/numbers", TEXT, data, time.time_ns(), time.monotonic_ns())
        if choice.random() < 0.01:
            recorder.fire([Firing("it", choice.random() + 0.1)], time.time_ns(), time.monotonic_ns())
        number += 1
        time.sleep(0.001)


if __name__ == "__main__":
    main()
