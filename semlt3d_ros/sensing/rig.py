"""What a vehicle carries: its cameras, their topics, and the names of its coordinate frames."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from semlt3d_ros.core.checks import Check, Checked, Checks, rule, usable
from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.core.yaml_file import read_yaml
from semlt3d_ros.messages import topics

_MAX_OFFSET_S = 1.0
_RECTIFIED = re.compile(r"(?<![a-z])(rect|rectified|rectify|undist|undistorted)(?![a-z])", re.IGNORECASE)


def _named(entry: str, optional: bool = False) -> Check:
    return rule(
        lambda values: getattr(values, entry) or (optional and getattr(values, entry) is None),
        f"{entry} must be a name{' or null' if optional else ''}, not {{0.{entry}!r}}",
    )


def _topic(entry: str) -> Check:
    return rule(
        lambda values: getattr(values, entry).startswith("/"),
        f"{entry} must be a topic that begins with '/', not {{0.{entry}!r}}",
    )


def _cameras_apart(rig: Rig) -> Iterator[str]:
    yield from _given_twice("name", usable(rig.cameras, "name"))
    yield from _given_twice("topic", usable(rig.cameras, "image_topic", "info_topic"))


def _anchored(rig: Rig) -> Iterator[str]:
    names = list(usable(rig.cameras, "name"))
    if names and rig.anchor not in names:
        yield f"anchor '{rig.anchor}' is not one of the cameras ({', '.join(names)})"


def _given_twice(kind: str, values: Iterable[str]) -> Iterator[str]:
    doubled = sorted(value for value, count in Counter(values).items() if count > 1)
    yield from (f"the {kind} '{value}' is given to more than one camera" for value in doubled)


@dataclass(frozen=True)
class CameraConfig(Checked):
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

    TITLE: ClassVar[str] = "camera '{0.name}'"
    CHECKS: ClassVar[Checks] = (
        _named("name"),
        _named("frame_id", optional=True),
        _topic("image_topic"),
        _topic("info_topic"),
        rule(
            lambda camera: abs(camera.time_offset_s) <= _MAX_OFFSET_S,
            f"time_offset_s must be within +-{_MAX_OFFSET_S:g} seconds, not {{0.time_offset_s}}",
        ),
        rule(
            lambda camera: camera.reliability in (None, "reliable", "best_effort"),
            "reliability must be reliable, best_effort or null, not {0.reliability!r}",
        ),
    )

    name: str
    image_topic: str
    info_topic: str
    compressed: bool = True
    time_offset_s: float = 0.0
    frame_id: str | None = None
    reliability: Literal["reliable", "best_effort"] | None = None
    rectified: bool | None = None

    @property
    def is_rectified(self) -> bool:
        """Whether the images are rectified; unless the rig says so, those whose topic does, as `image_rect_color`."""
        return bool(_RECTIFIED.search(self.image_topic)) if self.rectified is None else self.rectified


@dataclass(frozen=True)
class Rig(Checked):
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

    TITLE: ClassVar[str] = "the rig does not fit"
    CHECKS: ClassVar[Checks] = (
        rule(lambda rig: rig.cameras, "there is no camera"),
        _cameras_apart,
        _anchored,
        *(_named(name) for name in ("base_frame", "tf_topic", "tf_static_topic")),
        *(_named(name, optional=True) for name in ("fixed_frame", "points_topic", "labels_topic", "odometry_topic")),
    )

    cameras: tuple[CameraConfig, ...]
    anchor: str
    base_frame: str = topics.BASE_FRAME
    fixed_frame: str | None = topics.FIXED_FRAME
    points_topic: str | None = topics.POINTS
    labels_topic: str | None = topics.TRUTH_LONG_TAIL
    odometry_topic: str | None = None
    tf_topic: str = topics.TF
    tf_static_topic: str = topics.TF_STATIC

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
    camera. Of a vehicle file (``config/vehicles/``) the rig within it is read.

    Raises:
        ConfigurationError: the file cannot be read, or lists all its faults.
    """
    from semlt3d_ros.core.config import parse

    data = read_yaml(Path(path), "rig")
    if isinstance(data, Mapping) and isinstance(data.get("rig"), Mapping):
        data = data["rig"]
    return parse(Rig, _with_default_topics(data), f"rig '{path}'")


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


def _with_default_topics(values: Any) -> Any:
    """The entries of a rig with those that follow from the cameras' names; what does not fit is left as it is."""
    if not isinstance(values, dict):
        return values
    if not isinstance(values.get("cameras"), list):
        return {"anchor": "", **values}  # without cameras it is not what is missing
    cameras = []
    for number, entry in enumerate(values["cameras"]):
        if isinstance(entry, dict):
            given = entry.get("name")
            name = given if isinstance(given, str) else f"#{number}"
            image = topics.camera_image_topic(name, entry.get("compressed", True) is not False)
            cameras.append({"image_topic": image, "info_topic": topics.camera_info_topic(name), **entry})
            values = {"anchor": name, **values}
        else:
            cameras.append(entry)
    return {**values, "cameras": cameras}
