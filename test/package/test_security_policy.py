"""The SROS2 policy allows what the node does, and nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from pathlib import Path

from semlt3d_ros.messages import topics
from semlt3d_ros.nodes.configuration import rig_of
from semlt3d_ros.nodes.detector import RELOAD_MODEL, RESET_MEMORY
from semlt3d_ros.nodes.detector_parameters import DetectorParameters
from semlt3d_ros.nodes.outputs import DEBUG_IMAGE

POLICY = Path(__file__).resolve().parents[2] / "config" / "sros2" / "detector.policy.xml"
PROFILE = ElementTree.parse(POLICY).getroot().find("enclaves/enclave/profiles/profile")
OF_EVERY_NODE = {"/clock", "/parameter_events", "/rosout", "~/transition_event"}


def allowed(kind: str, verb: str) -> set[str]:
    found = [element for element in PROFILE.findall(kind) if element.get(verb) == "ALLOW"]
    names = [name.text or "" for element in found for name in element]
    assert len(names) == len(set(names))
    return set(names)


def test_the_profile_is_the_nodes():
    assert (PROFILE.get("ns"), "/" + PROFILE.get("node")) == ("/", topics.DETECTIONS.rpartition("/")[0])


def test_every_input_of_the_default_rig_may_be_read():
    assert allowed("topics", "subscribe") - OF_EVERY_NODE == set(rig_of(DetectorParameters()).topics())


def test_every_output_may_be_published():
    parameters = DetectorParameters()
    outputs = {value for name, value in vars(parameters).items() if name.endswith("_topic")}
    outputs |= {DEBUG_IMAGE.format(name) for name in parameters.cameras} | {topics.DIAGNOSTICS}
    assert allowed("topics", "publish") - OF_EVERY_NODE == outputs


def test_services_may_be_answered():
    assert {RESET_MEMORY, RELOAD_MODEL, "~/change_state", "~/get_state", "~/set_parameters"} <= allowed(
        "services", "reply"
    )
