"""process_names — names the processes of a daemon, for the figures of `memory` and `idle`."""

__all__ = ["name_processes"]

from collections import Counter

from benchmarks import procfs
from benchmarks.clients.control import worker_names
from benchmarks.servers.daemon import Server


def name_processes(server: Server) -> dict[int, str]:
    """Returns a unique name for each process of a daemon: the name in its status, otherwise the command's."""
    workers = worker_names(server.address)
    names = {pid: workers.get(pid) or procfs.command_name(pid) for pid in server.pids()}
    names[server.process.pid] = "supervisor"
    counts = Counter(names.values())
    return {pid: name if counts[name] == 1 else f"{name} {pid}" for pid, name in names.items()}
