"""Host conversion — the other hosts and their agents as the contract shows them, from the relay's directory.

Not here: messages and deliveries (`conversion`), the directory (`core.host_directory`).
"""

__all__ = ["hub_to_proto", "remote_agent_to_proto", "remote_agents"]

from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.host_directory import HostDirectory, HostRecord, HostsFile
from mailroomd.gateway.conversion import timestamp_from_ms
from mailroomd.model.clock import now_ms
from mailroomd.model.limits import ALIVE_MS
from mailroomd.model.names import host_of

NOT_REACHED = "the relay has not reached the hub yet"


def remote_agents(hosts: HostDirectory, *, alive_only: bool) -> list[tuple[str, HostRecord]]:
    """Returns the agents of other hosts by address, each with the record of its host."""
    return [
        (f"{agent}:{host}", record)
        for host, record in hosts.content().hosts.items()
        if _is_alive(record) or not alive_only
        for agent in record.agents
    ]


def remote_agent_to_proto(address: str, record: HostRecord) -> pb.AgentInfo:
    """Returns an agent of another host as a protobuf message."""
    proto = pb.AgentInfo(name=address, alive=_is_alive(record), host=host_of(address))
    if record.seen_ms:
        proto.last_seen.CopyFrom(timestamp_from_ms(record.seen_ms))
    return proto


def hub_to_proto(directory: HostsFile) -> pb.HubStatus:
    """Returns the state of the exchange with other hosts as a protobuf message."""
    proto = pb.HubStatus(
        host=directory.host,
        connected=directory.is_connected,
        problem=directory.problem if directory.host else NOT_REACHED,
        hosts=[_host_to_proto(name, record) for name, record in sorted(directory.hosts.items())],
    )
    if directory.contact_ms:
        proto.last_contact.CopyFrom(timestamp_from_ms(directory.contact_ms))
    return proto


def _host_to_proto(name: str, record: HostRecord) -> pb.HostStatus:
    proto = pb.HostStatus(name=name, waiting=record.waiting, waiting_bytes=record.waiting_bytes, problem=record.problem)
    if record.seen_ms:
        proto.last_seen.CopyFrom(timestamp_from_ms(record.seen_ms))
    return proto


def _is_alive(record: HostRecord) -> bool:
    return now_ms() - record.seen_ms < ALIVE_MS
