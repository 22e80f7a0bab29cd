"""Another process on the graph, driven by the tests: ``peer.py DOMAIN TASK``, where TASK is JSON.

    {"echo": {TOPIC: TYPE}}                     sends back every message on TOPIC + "_back"
    {"publish": [[TOPIC, TYPE, QOS]]}           has publishers, and never publishes
    {"flood": [[TOPIC, BYTES]], "count": N, "period_s": P}   images on several topics, N rounds

It prints one line when it is ready and runs until its input is closed.
"""

from __future__ import annotations

import json
import sys
import threading

import numpy as np

from semlt3d_ros.messages.building import build_header
from semlt3d_ros.messages.typestore import message_class
from semlt3d_ros.middleware.dds import DdsMiddleware
from semlt3d_ros.middleware.port import QoS

IMAGE = "sensor_msgs/msg/CompressedImage"
DEEP = QoS(depth=100)


def main() -> None:
    middleware = DdsMiddleware("peer", int(sys.argv[1]))
    task = json.loads(sys.argv[2])
    for topic, type_name in task.get("echo", {}).items():
        back = middleware.create_publisher(topic + "_back", type_name, DEEP)
        middleware.create_subscription(topic, type_name, lambda data, _, back=back: back.publish(data), DEEP, raw=True)
    for topic, type_name, qos in task.get("publish", []):
        middleware.create_publisher(topic, type_name, QoS(**qos))
    threading.Thread(target=lambda: (sys.stdin.read(), middleware.stop()), daemon=True).start()
    print("ready", flush=True)
    if "flood" in task:
        flood(middleware, task)
    middleware.spin()
    middleware.shutdown()


def flood(middleware: DdsMiddleware, task: dict) -> None:
    publishers = [(middleware.create_publisher(topic, IMAGE), size) for topic, size in task["flood"]]
    middleware.spin(until=lambda: all(publisher.matched for publisher, _ in publishers))
    for number in range(task["count"]):
        for publisher, size in publishers:
            header = build_header(message_class, number, "camera")
            data = np.full(size, number % 256, np.uint8)
            publisher.publish(message_class(IMAGE)(header=header, format="jpeg", data=data))
        middleware.spin(timeout_s=task["period_s"])


if __name__ == "__main__":
    main()
