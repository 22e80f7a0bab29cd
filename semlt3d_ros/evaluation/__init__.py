"""Long-tail detection metrics: centre-distance average precision and true-positive errors, as in nuScenes and LT3D."""

from semlt3d_ros.evaluation.evaluator import Evaluator, evaluate
from semlt3d_ros.evaluation.report import ClassResult, Report
from semlt3d_ros.evaluation.settings import EvaluationSettings

__all__ = ["ClassResult", "EvaluationSettings", "Evaluator", "Report", "evaluate"]
