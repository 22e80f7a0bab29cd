"""Corruptions of recorded messages: images, and the transforms that say where cameras are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semlt3d_ros.core.errors import InputRejected

if TYPE_CHECKING:
    from semlt3d_ros.bags.source import BagSource
    from semlt3d_ros.corruptions.benchmarks import Corruptor
    from semlt3d_ros.sensing.rig import Rig


class MessageCorruptor:
    """Changes the messages of a recording, in their order.

    Args:
        source: the recording; the frames of cameras are looked up in it.
        rig: its cameras.
        corruptor: what becomes of images and mountings.

    Attributes:
        touches: the topics of which messages may change.
    """

    def __init__(self, source: BagSource, rig: Rig, corruptor: Corruptor) -> None:
        self._corruptor, self._moves = corruptor, corruptor.corruption.kind == "moved"
        self._cameras = {} if self._moves else {camera.image_topic: camera.name for camera in rig.cameras}
        self._transforms = {rig.tf_topic, rig.tf_static_topic} if self._moves else set[str]()
        self._frames = _frames_of(source, rig) if self._moves else {}
        self.touches = {*self._cameras, *self._transforms}

    def __call__(self, topic: str, type_name: str, message: Any) -> Any:
        """What becomes of a message; it is changed itself.

        Raises:
            InputRejected: its image cannot be read, or not be written again; a transform is none.
        """
        if topic in self._transforms:
            for each in message.transforms:
                camera = self._frames.get(each.child_frame_id.lstrip("/"))
                if camera is not None:
                    _move(each, self._corruptor.mounting(camera))
        elif topic in self._cameras:
            from semlt3d_ros.messages import decode, topics
            from semlt3d_ros.messages.reencode import with_pixels

            compressed = type_name == topics.COMPRESSED_IMAGE_TYPE
            image = decode.decode_compressed_image(message) if compressed else decode.decode_image(message)
            image = self._corruptor.image(image, decode.stamp_of(message), self._cameras[topic])
            return with_pixels(message, type_name, image)
        return message


def _frames_of(source: BagSource, rig: Rig) -> dict[str, str]:
    """The cameras by the frames that their images are in."""
    frames = {}
    for camera in rig.cameras:
        frame = camera.frame_id
        for entry in source.messages(topics=[camera.image_topic]) if not frame else ():
            try:
                frame = entry.message().header.frame_id
                break
            except InputRejected:  # the next one may be read
                continue
        frames[(frame or camera.name).lstrip("/")] = camera.name
    return frames


def _move(link: Any, moved: Any) -> None:
    from semlt3d_ros.core.rigid import quaternion_from_rotation
    from semlt3d_ros.messages.building import build_quaternion, build_vector
    from semlt3d_ros.messages.decode_geometry import matrix_of
    from semlt3d_ros.messages.typestore import message_class

    where = link.transform
    T = matrix_of(where.translation, where.rotation, link.header.frame_id, link.child_frame_id) @ moved
    where.translation = build_vector(message_class, T[:3, 3])
    where.rotation = build_quaternion(message_class, quaternion_from_rotation(T[:3, :3]))
