"""A simulated drive as a rosbag2 with sensor data and ground truth, on the topics of ``messages.topics``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from semlt3d_ros.bags.sink import BagSink
from semlt3d_ros.core import rigid
from semlt3d_ros.core.frame import Frame
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode_geometry import StampedTransform
from semlt3d_ros.messages.encode_detections import encode_labels, encode_labels_detection3d
from semlt3d_ros.messages.encode_sensors import (
    encode_camera_info,
    encode_compressed_image,
    encode_odometry,
    encode_point_cloud,
    encode_transforms,
)
from semlt3d_ros.simulation.drive import Drive, DriveConfig

_JPEG_QUALITY = 92


def simulate(out: Path, config: DriveConfig, progress: bool = True, overwrite: bool = False) -> int:
    """Simulate a drive into a bag: images, calibration, points, tf, odometry, and the truth in both message types.

    Args:
        out: ``NAME.mcap`` for one file, else a bag folder.
        config: the drive.
        progress: show a progress bar.
        overwrite: replace a bag that is there.

    Returns:
        The number of frames written.

    Raises:
        ConfigurationError: the bag cannot be written, or the ray caster is missing.
    """
    drive = Drive(config)
    columns = (TextColumn("simulating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        BagSink(out, overwrite=overwrite) as sink,
        Progress(*columns, console=Console(stderr=True), disable=not progress) as bar,
    ):
        _write_mounting(sink, drive)
        for index in bar.track(range(len(drive))):
            _write_frame(sink, drive, index)
    return len(drive)


def _write_mounting(sink: BagSink, drive: Drive) -> None:
    stamp = drive.stamp(0)
    mounts = [(camera.name, camera.T_ego_camera) for camera in drive.cameras] + [
        (topics.LIDAR_FRAME, drive.T_ego_lidar)
    ]
    transforms = [StampedTransform(topics.BASE_FRAME, child, stamp, matrix) for child, matrix in mounts]
    _write(sink, topics.TF_STATIC, encode_transforms(transforms), stamp)


def _write_frame(sink: BagSink, drive: Drive, index: int) -> None:
    frame = drive.frame(index)
    stamp = frame.stamp
    _write_pose(sink, drive, frame, index)
    for view in frame.views:
        info = encode_camera_info(view.camera, view.stamp, view.name)
        image = encode_compressed_image(view.image, view.stamp, view.name, _JPEG_QUALITY)
        _write(sink, topics.camera_info_topic(view.name), info, view.stamp)
        _write(sink, topics.camera_image_topic(view.name), image, view.stamp)
    if frame.points is not None:
        xyz = rigid.apply(rigid.inverse(drive.T_ego_lidar), frame.points.xyz).astype(np.float32)
        points = replace(frame.points, xyz=xyz)
        _write(sink, topics.POINTS, encode_point_cloud(points, stamp, topics.LIDAR_FRAME), stamp)
    if frame.labels is not None:
        _write(sink, topics.TRUTH_LONG_TAIL, encode_labels(frame.labels, stamp, topics.BASE_FRAME), stamp)
        _write(sink, topics.TRUTH_OBJECTS, encode_labels_detection3d(frame.labels, stamp, topics.BASE_FRAME), stamp)


def _write_pose(sink: BagSink, drive: Drive, frame: Frame, index: int) -> None:
    if frame.T_world_ego is None:
        return
    time_s, step = float(drive.times_s[index]), 0.01
    pose, speed = drive.ego_pose(time_s)
    later, _ = drive.ego_pose(time_s + step)
    turn = float(rigid.wrap_angle(rigid.yaw_from_rotation(later) - rigid.yaw_from_rotation(pose))) / step
    transform = StampedTransform(topics.FIXED_FRAME, topics.BASE_FRAME, frame.stamp, pose)
    _write(sink, topics.TF, encode_transforms([transform]), frame.stamp)
    odometry = encode_odometry(pose, frame.stamp, (speed, 0.0, 0.0), (0.0, 0.0, turn))
    _write(sink, topics.ODOMETRY, odometry, frame.stamp)


def _write(sink: BagSink, topic: str, message: object, stamp: int) -> None:
    type_name = topics.default_type(topic)
    assert type_name is not None
    sink.write(topic, type_name, message, stamp)
