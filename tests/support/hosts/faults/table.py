"""table — everything that is done to several hosts and their hub, by name: what campaigns choose from."""

__all__ = ["FAULTS"]

from support.hosts.faults import disks, hub_contents, lines, processes, whole_hosts
from support.hosts.faults.stage import Fault

FAULTS: dict[str, Fault] = lines.FAULTS | processes.FAULTS | disks.FAULTS | hub_contents.FAULTS | whole_hosts.FAULTS
