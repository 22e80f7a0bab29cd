"""What a vehicle carries: its cameras, their topics, and the names of its coordinate frames."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.messages import topics

_MAX_OFFSET_S = 1.0
_RECTIFIED = re.compile(r"/image_rect(_\w+)?(/|$)")


@dataclass(frozen=True)
class CameraConfig:
    """One camera of a rig.

    Attributes:
        name: the camera's name; unique within the rig.
        image_topic: topic of ``sensor_msgs/CompressedImage`` or ``sensor_msgs/Image``.
        info_topic: topic of ``sensor_msgs/CameraInfo``.
        compressed: which of the two image types the topic carries.
        time_offset_s: by how many seconds this camera exposes after the rig's nominal trigger (its phase); negative if
            before.
        frame_id: the camera's optical frame; None takes it from each image's header.
        reliability: ``"reliable"`` or ``"best_effort"``, the QoS asked of this camera's topics; None leaves it to the
            node's parameter ``image_reliability``.
        rectified: whether the images are rectified already, so that P of their ``CameraInfo`` holds and not K and D;
            None tells it by the topic's name (``is_rectified``).
    """

    name: str
    image_topic: str
    info_topic: str
    compressed: bool = True
    time_offset_s: float = 0.0
    frame_id: str | None = None
    reliability: str | None = None
    rectified: bool | None = None

    @property
    def is_rectified(self) -> bool:
        """Whether the images are rectified; unless the rig says so, those of ``image_rect*`` (image_proc's names)."""
        return bool(_RECTIFIED.search(self.image_topic)) if self.rectified is None else self.rectified


@dataclass(frozen=True)
class Rig:
    """Cameras in the order in which frames list them, and where everything else comes from.

    Attributes:
        cameras: the cameras.
        anchor: name of the camera whose exposure time is the frame's stamp.
        base_frame: the ego frame.
        fixed_frame: the frame in which the ego motion is known (odom or map); None does without ego motion: all
            cameras count as exposed at once and frames carry no ego pose.
        points_topic: ``sensor_msgs/PointCloud2``, or None.
        labels_topic: ground truth as ``semlt3d_ros/LongTailDetectionArray``, or None.
        odometry_topic: ``nav_msgs/Odometry`` that supplies ``fixed_frame`` to ``base_frame`` where no one publishes it
            on tf; None uses tf alone.
        tf_topic, tf_static_topic: ``tf2_msgs/TFMessage``.
    """

    cameras: tuple[CameraConfig, ...]
    anchor: str
    base_frame: str = topics.BASE_FRAME
    fixed_frame: str | None = topics.FIXED_FRAME
    points_topic: str | None = topics.POINTS
    labels_topic: str | None = topics.TRUTH_LONG_TAIL
    odometry_topic: str | None = None
    tf_topic: str = topics.TF
    tf_static_topic: str = topics.TF_STATIC

    def __post_init__(self) -> None:
        faults = _faults(self)
        if faults:
            raise ConfigurationError(f"the rig does not fit: {'; '.join(faults)}")

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names of the cameras, in order."""
        return tuple(camera.name for camera in self.cameras)

    def topics(self, with_points: bool = False, with_labels: bool = False) -> dict[str, str]:
        """The topics to subscribe to, each with its type name, transforms first."""
        wanted = {self.tf_static_topic: topics.TF_TYPE, self.tf_topic: topics.TF_TYPE}
        if self.odometry_topic:
            wanted[self.odometry_topic] = topics.ODOMETRY_TYPE
        for camera in self.cameras:
            wanted[camera.info_topic] = topics.CAMERA_INFO_TYPE
            wanted[camera.image_topic] = topics.COMPRESSED_IMAGE_TYPE if camera.compressed else topics.IMAGE_TYPE
        if with_points and self.points_topic:
            wanted[self.points_topic] = topics.POINT_CLOUD_TYPE
        if with_labels and self.labels_topic:
            wanted[self.labels_topic] = topics.LONG_TAIL_TYPE
        return wanted


def load_rig(path: Path | str) -> Rig:
    """Read a rig from a YAML file; ``config/rigs/`` holds examples.

    A camera needs only its ``name``: topics default to this package's convention. The anchor defaults to the first
    camera.

    Raises:
        ConfigurationError: the file cannot be read, or lists all its faults.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"rig '{path}' cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"rig '{path}' is not YAML: {' '.join(str(error).split())}") from error
    try:
        return _rig_of(data)
    except ConfigurationError as error:
        raise ConfigurationError(f"rig '{path}': {error}") from error


def rig_from_topics(available: Mapping[str, str]) -> Rig:
    """The rig of a bag or graph whose topics follow this package's convention (``messages/topics.py``).

    nuScenes' cameras come first and in their order, others follow by name. A camera that has both kinds of images is
    read compressed. Without /tf, odometry supplies the ego motion; without either the rig has none.

    Args:
        available: topic to type name.

    Raises:
        ConfigurationError: there is no image topic of the convention.
    """
    names = {
        name for topic in available if (name := topics.camera_of(topic)) and topic != topics.camera_info_topic(name)
    }
    if not names:
        images = [topic for topic, kind in available.items() if kind.endswith("Image")]
        raise ConfigurationError(
            f"no camera found: {', '.join(images) if images else 'no topic'} "
            f"follows {topics.camera_image_topic('NAME')}; describe the cameras in a rig file (config/rigs)"
        )
    ordered = [name for name in topics.NUSCENES_CAMERAS if name in names]
    ordered += sorted(names - set(ordered))
    cameras = []
    for name in ordered:
        compressed = topics.camera_image_topic(name) in available
        cameras.append(
            CameraConfig(name, topics.camera_image_topic(name, compressed), topics.camera_info_topic(name), compressed)
        )
    odometry = topics.ODOMETRY if topics.TF not in available and topics.ODOMETRY in available else None
    return Rig(
        tuple(cameras),
        anchor=ordered[0],
        fixed_frame=topics.FIXED_FRAME if topics.TF in available or odometry else None,
        points_topic=topics.POINTS if topics.POINTS in available else None,
        labels_topic=topics.TRUTH_LONG_TAIL if topics.TRUTH_LONG_TAIL in available else None,
        odometry_topic=odometry,
    )


def default_rig() -> Rig:
    """The rig of nuScenes' cameras on this package's own topics, with LiDAR, labels and ego motion on tf."""
    expected = [topics.TF, topics.POINTS, topics.TRUTH_LONG_TAIL]
    for name in topics.NUSCENES_CAMERAS:
        expected += [topics.camera_image_topic(name), topics.camera_info_topic(name)]
    return rig_from_topics({topic: topics.default_type(topic) or "" for topic in expected})


def _rig_of(data: Any) -> Rig:
    if not isinstance(data, dict):
        raise ConfigurationError("a mapping with the key 'cameras' is expected")
    known = {field.name for field in fields(Rig)}
    faults = [f"unknown key '{key}' (known: {', '.join(sorted(known))})" for key in data if key not in known]
    entries = data.get("cameras")
    if not isinstance(entries, list) or not entries:
        faults.append("'cameras' must be a list with at least one camera")
        entries = []
    cameras = tuple(_camera_of(entry, place, faults) for place, entry in enumerate(entries))
    settings = {key: value for key, value in data.items() if key in known and key != "cameras"}
    settings.setdefault("anchor", cameras[0].name if cameras else "")
    unchecked = object.__new__(Rig)
    defaults = {field.name: field.default for field in fields(Rig)}
    for key, value in {**defaults, **settings, "cameras": cameras}.items():
        object.__setattr__(unchecked, key, value)
    faults += _faults(unchecked)
    if faults:
        raise ConfigurationError("; ".join(dict.fromkeys(faults)))
    return Rig(cameras, **settings)


def _camera_of(entry: Any, place: int, faults: list[str]) -> CameraConfig:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        faults.append(f"cameras[{place}] needs a 'name'")
        return CameraConfig(f"#{place}", f"/#{place}/image", f"/#{place}/camera_info")
    name = entry["name"]
    known = {field.name for field in fields(CameraConfig)}
    faults += [
        f"camera '{name}': unknown key '{key}' (known: {', '.join(sorted(known))})" for key in entry if key not in known
    ]
    values = {key: value for key, value in entry.items() if key in known}
    compressed = values.get("compressed", True)
    values.setdefault("image_topic", topics.camera_image_topic(name, bool(compressed)))
    values.setdefault("info_topic", topics.camera_info_topic(name))
    return CameraConfig(**values)


def _faults(rig: Rig) -> list[str]:
    faults = [] if rig.cameras else ["there is no camera"]
    for camera in rig.cameras:
        faults += [f"camera '{camera.name}': {fault}" for fault in _camera_faults(camera)]
    for kind, values in (
        ("name", [camera.name for camera in rig.cameras]),
        ("topic", [topic for camera in rig.cameras for topic in (camera.image_topic, camera.info_topic)]),
    ):
        doubled = {str(value) for value in values if values.count(value) > 1}
        faults += [f"the {kind} '{value}' is given to more than one camera" for value in sorted(doubled)]
    if rig.cameras and rig.anchor not in rig.camera_names:
        faults.append(f"anchor '{rig.anchor}' is not one of the cameras ({', '.join(rig.camera_names)})")
    for key in ("base_frame", "tf_topic", "tf_static_topic"):
        if not isinstance(getattr(rig, key), str) or not getattr(rig, key):
            faults.append(f"{key} must be a name, not {getattr(rig, key)!r}")
    for key in ("fixed_frame", "points_topic", "labels_topic", "odometry_topic"):
        value = getattr(rig, key)
        if value is not None and (not isinstance(value, str) or not value):
            faults.append(f"{key} must be a name or null, not {value!r}")
    return faults


def _camera_faults(camera: CameraConfig) -> list[str]:
    faults = []
    for key in ("image_topic", "info_topic"):
        value = getattr(camera, key)
        if not isinstance(value, str) or not value.startswith("/"):
            faults.append(f"{key} must be a topic that begins with '/', not {value!r}")
    if not isinstance(camera.compressed, bool):
        faults.append(f"compressed must be true or false, not {camera.compressed!r}")
    if camera.rectified is not None and not isinstance(camera.rectified, bool):
        faults.append(f"rectified must be true, false or null, not {camera.rectified!r}")
    offset = camera.time_offset_s
    if isinstance(offset, bool) or not isinstance(offset, int | float) or not abs(offset) <= _MAX_OFFSET_S:
        faults.append(f"time_offset_s must be a number of seconds within +-{_MAX_OFFSET_S:g}, not {offset!r}")
    if camera.reliability not in (None, "reliable", "best_effort"):
        faults.append(f"reliability must be reliable, best_effort or null, not {camera.reliability!r}")
    if camera.frame_id is not None and (not isinstance(camera.frame_id, str) or not camera.frame_id):
        faults.append(f"frame_id must be a name or null, not {camera.frame_id!r}")
    return faults
