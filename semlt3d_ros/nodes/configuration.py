"""From a detector node's parameters to what it works with."""

from __future__ import annotations

from pathlib import Path

import cv2

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.inference.frame_detector import FrameDetector
from semlt3d_ros.messages import topics as names
from semlt3d_ros.middleware.port import LATCHED, QoS
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.sensing.assembler import AssemblerConfig
from semlt3d_ros.sensing.frame_builder import BuilderConfig, FrameBuilder
from semlt3d_ros.sensing.rig import CameraConfig, Rig, load_rig

_GEOMETRY_DEPTH = 100


def rig_of(parameters: DetectorParameters) -> Rig:
    """The rig of the parameters: their file's, or their cameras on default topics.

    Raises:
        ConfigurationError: the file cannot be used, or there is neither.
    """
    if parameters.rig_file:
        return load_rig(Path(parameters.rig_file))
    if not parameters.cameras:
        raise ConfigurationError("parameters: 'cameras' is empty and there is no rig_file; name at least one camera")
    compressed = parameters.compressed
    cameras = tuple(
        CameraConfig(name, names.camera_image_topic(name, compressed), names.camera_info_topic(name), compressed)
        for name in parameters.cameras
    )
    return Rig(cameras, anchor=parameters.cameras[0])


def frame_builder_of(parameters: DetectorParameters, rig: Rig, detector: FrameDetector) -> FrameBuilder:
    """What makes the frames of a rig that a detector takes; gives OpenCV one thread."""
    # Its images are so small that handing parts of them to other threads costs more than it saves.
    cv2.setNumThreads(1)
    return FrameBuilder(
        rig,
        detector.image_spec,
        AssemblerConfig(
            completed_by="anchor" if parameters.completed_by == "anchor" else "all",
            tolerance_s=parameters.tolerance_s,
            deadline_s=parameters.deadline_s,
            min_cameras=parameters.min_cameras or None,
            stall_s=parameters.stall_s,
        ),
        config=BuilderConfig(stopped_after_s=parameters.camera_timeout_s),
        whole_width=detector.whole_width,
    )


def input_qos(parameters: DetectorParameters, rig: Rig, topic: str) -> QoS:
    """The quality of service to subscribe with to one of the rig's topics."""
    if topic == rig.tf_static_topic:
        return LATCHED
    for camera in rig.cameras:
        # Drivers publish camera_info beside the image, mostly with the same QoS.
        reliable = (camera.reliability or parameters.image_reliability) == "reliable"
        if topic == camera.image_topic:
            return QoS(parameters.image_depth, reliable)
        if topic == camera.info_topic:
            return QoS(_GEOMETRY_DEPTH, reliable)
    return QoS(_GEOMETRY_DEPTH)


def device_of(parameters: DetectorParameters) -> str:
    """The device to run on, ``"cpu"`` or ``"cuda[:N]"``; sets the number of CPU threads too."""
    import torch

    if parameters.threads:
        torch.set_num_threads(parameters.threads)
    if parameters.device != "auto":
        return parameters.device
    return "cuda" if torch.cuda.is_available() else "cpu"
