"""All verdicts on a finished survey."""

from __future__ import annotations

from collections.abc import Mapping

from semlt3d_ros.checking.cameras import camera_verdicts
from semlt3d_ros.checking.drive import drive_verdicts
from semlt3d_ros.checking.survey import Survey
from semlt3d_ros.checking.verdict import Verdict
from semlt3d_ros.sensing.assembler import AssemblerConfig


def verdicts_of(survey: Survey, available: Mapping[str, str] | None = None) -> list[Verdict]:
    """Verdicts on the cameras, then on the whole, then what else was wrong with messages: no fault goes untold.

    Args:
        survey: after its end.
        available: topics that are there, with their types; None where that is not known.
    """
    verdicts = [*camera_verdicts(survey, available, AssemblerConfig().tolerance_s), *drive_verdicts(survey)]
    untold = (fault for fault in survey.faults if not any(fault.line in verdict.found for verdict in verdicts))
    return verdicts + [Verdict(fault.reason, "note", str(fault), "as it says") for fault in untold]
