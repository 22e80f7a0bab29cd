"""All verdicts on a finished survey."""

from __future__ import annotations

from collections.abc import Mapping

from semlt3d_ros.checking.cameras import camera_verdicts
from semlt3d_ros.checking.drive import drive_verdicts
from semlt3d_ros.checking.survey import Survey
from semlt3d_ros.checking.verdict import Verdict
from semlt3d_ros.sensing.assembler import AssemblerConfig


def verdicts_of(survey: Survey, available: Mapping[str, str] | None = None) -> list[Verdict]:
    """Verdicts on the cameras, then on the whole.

    Args:
        survey: after its end.
        available: topics that are there, with their types; None where that is not known.
    """
    return [*camera_verdicts(survey, available, AssemblerConfig().tolerance_s), *drive_verdicts(survey)]
