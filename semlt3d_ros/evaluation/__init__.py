"""Long-tail detection metrics: LT3D's and nuScenes' average precision and errors, calibration and confusion."""

from semlt3d_ros.evaluation.attributes import FrameAttributes
from semlt3d_ros.evaluation.confidence_calibration import Reliability, expected_calibration_error, reliability
from semlt3d_ros.evaluation.evaluator import Evaluator, evaluate
from semlt3d_ros.evaluation.protocols import LT3D, NUSCENES, PROTOCOLS, Protocol, protocol_named, protocol_of
from semlt3d_ros.evaluation.report import ClassResult, Report
from semlt3d_ros.evaluation.settings import EvaluationSettings

__all__ = [
    "LT3D",
    "NUSCENES",
    "PROTOCOLS",
    "ClassResult",
    "EvaluationSettings",
    "Evaluator",
    "FrameAttributes",
    "Protocol",
    "Reliability",
    "Report",
    "evaluate",
    "expected_calibration_error",
    "protocol_named",
    "protocol_of",
    "reliability",
]
