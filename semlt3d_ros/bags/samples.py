"""What data sets say of the frames in a bag."""

from __future__ import annotations

from semlt3d_ros.bags.message import decoded
from semlt3d_ros.bags.source import BagSource
from semlt3d_ros.core.errors import InputRejected
from semlt3d_ros.core.faults import FaultLog
from semlt3d_ros.core.frame import SampleInfo
from semlt3d_ros.messages import topics
from semlt3d_ros.messages.decode import decode_sample, stamp_of


def read_samples(source: BagSource, faults: FaultLog) -> dict[int, SampleInfo]:
    """What the data set says of the frames in a bag, by stamp in nanoseconds; empty where its importer wrote none.

    Args:
        source: the bag.
        faults: gets what could not be used: ``type``, ``sample``, and what ``decoded`` tells.
    """
    samples: dict[int, SampleInfo] = {}
    for entry, message in decoded(source.messages(topics=[topics.TRUTH_SAMPLE]), faults):
        if entry.type_name != topics.SAMPLE_TYPE:
            faults.add(entry.topic, "type", f"{entry.type_name} is not read here; {topics.SAMPLE_TYPE} is")
            continue
        try:
            samples[stamp_of(message)] = decode_sample(message)
        except InputRejected as error:
            faults.reject(entry.topic, error)
    return samples
