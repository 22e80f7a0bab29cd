"""Where DDS talks: the domain number, the network interface, and the sizes that let large images through."""

from __future__ import annotations

import os
from functools import cache

from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.util import duration

from semlt3d_ros.core.errors import ConfigurationError
from semlt3d_ros.middleware.dds_types import type_hash
from semlt3d_ros.middleware.port import QoS

LARGEST_DOMAIN_ID = 232
_PARTICIPANTS = 99
_UNLIMITED = -1
_LOOPBACK = """<Interfaces><NetworkInterface address="127.0.0.1" multicast="false"/></Interfaces>
      <AllowMulticast>false</AllowMulticast>
      <MaxMessageSize>65500B</MaxMessageSize>
      <FragmentSize>63000B</FragmentSize>"""
_CONFIGURATION = """<CycloneDDS>
  <Domain>
    <General>
      {general}
    </General>
    <Discovery>
      <ParticipantIndex>auto</ParticipantIndex>
      <MaxAutoParticipantIndex>{participants}</MaxAutoParticipantIndex>
      <Peers>{peers}</Peers>
    </Discovery>
    <Internal>
      <SocketReceiveBufferSize max="10MB"/>
      <WriterLingerDuration>200 ms</WriterLingerDuration>
      <Watermarks><WhcHigh>16MB</WhcHigh></Watermarks>
    </Internal>
  </Domain>
</CycloneDDS>"""


def domain_id_from_environment() -> int:
    """ROS_DOMAIN_ID, or 0.

    Raises:
        ConfigurationError: it is not a whole number from 0 to 232.
    """
    return checked_domain_id(os.environ.get("ROS_DOMAIN_ID") or "0")


def checked_domain_id(value: str | int) -> int:
    """A domain number within the range DDS has ports for.

    Raises:
        ConfigurationError: it is not a whole number from 0 to 232.
    """
    try:
        domain_id = int(value)
    except ValueError:
        domain_id = -1
    if not 0 <= domain_id <= LARGEST_DOMAIN_ID:
        raise ConfigurationError(
            f"the ROS domain '{value}' is not a whole number from 0 to {LARGEST_DOMAIN_ID}; "
            "set ROS_DOMAIN_ID to one, or leave it unset for 0"
        )
    return domain_id


def configuration() -> str:
    """The Cyclone DDS configuration (XML): loopback, unless ROS_AUTOMATIC_DISCOVERY_RANGE says otherwise.

    ROS_AUTOMATIC_DISCOVERY_RANGE and ROS_STATIC_PEERS are ROS 2's own variables; unlike there, the range is LOCALHOST
    when unset. SUBNET leaves the choice of the interface to Cyclone DDS.

    Raises:
        ConfigurationError: the range is neither LOCALHOST nor SUBNET.
    """
    discovery_range = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE") or "LOCALHOST"
    if discovery_range not in ("LOCALHOST", "SUBNET"):
        raise ConfigurationError(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE is '{discovery_range}'; use LOCALHOST (this machine only) or SUBNET"
        )
    peers = [peer for peer in os.environ.get("ROS_STATIC_PEERS", "").split(";") if peer]
    local = discovery_range == "LOCALHOST"
    return _CONFIGURATION.format(
        general=_LOOPBACK if local else "<AllowMulticast>default</AllowMulticast>",
        participants=_PARTICIPANTS,
        peers="".join(f'<Peer address="{peer}"/>' for peer in (["127.0.0.1"] if local else peers)),
    )


@cache
def _configured_domain(domain_id: int) -> Domain:
    return Domain(domain_id, configuration())


def create_participant(domain_id: int) -> DomainParticipant:
    """A participant in the domain; CYCLONEDDS_URI, where set, replaces the package's own configuration."""
    if not os.environ.get("CYCLONEDDS_URI"):
        _configured_domain(domain_id)
    return DomainParticipant(domain_id)


def reader_qos(qos: QoS, type_name: str) -> Qos:
    """The QoS of a DDS reader.

    It keeps more than ``qos.depth``: the surplus is dropped, and counted, by the executor.
    """
    return _endpoint_qos(qos, type_name, depth=max(4 * qos.depth, 20))


def writer_qos(qos: QoS, type_name: str) -> Qos:
    """The QoS of a DDS writer."""
    return _endpoint_qos(qos, type_name, depth=qos.depth)


def _endpoint_qos(qos: QoS, type_name: str, depth: int) -> Qos:
    return Qos(
        Policy.Reliability.Reliable(duration(seconds=1)) if qos.reliable else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if qos.transient_local else Policy.Durability.Volatile,
        Policy.History.KeepLast(depth),
        # What a late subscriber gets; without this it is the last message alone, whatever the history.
        Policy.DurabilityService(0, Policy.History.KeepLast(depth), _UNLIMITED, _UNLIMITED, _UNLIMITED),
        # ROS 2 (Iron and later) reads the type hash from here, and warns about an endpoint without it.
        Policy.Userdata(f"typehash={type_hash(type_name)};".encode()),
    )
