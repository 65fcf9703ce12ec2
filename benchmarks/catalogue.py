"""catalogue — the benchmarks by name, in the order in which they run and are listed."""

__all__ = ["BENCHMARKS"]

from collections.abc import Callable

from benchmarks.questions import (
    brokers,
    bulk,
    check_inbox,
    dashboard,
    depth,
    fairness,
    fan_out,
    gateways,
    hook,
    hosts,
    idle,
    mailboxes,
    mcp,
    memory,
    push,
    replay,
    rivals,
    sends,
    single,
    startup,
    sweep,
)
from benchmarks.results import Options, Result

BENCHMARKS: dict[str, Callable[[Options], Result]] = {
    "sends": sends.measure,
    "single": single.measure,
    "bulk": bulk.measure,
    "push": push.measure,
    "fan_out": fan_out.measure,
    "replay": replay.measure,
    "fairness": fairness.measure,
    "depth": depth.measure,
    "check_inbox": check_inbox.measure,
    "mailboxes": mailboxes.measure,
    "sweep": sweep.measure,
    "startup": startup.measure,
    "memory": memory.measure,
    "idle": idle.measure,
    "hook": hook.measure,
    "mcp": mcp.measure,
    "dashboard": dashboard.measure,
    "gateways": gateways.measure,
    "brokers": brokers.measure,
    "rivals": rivals.measure,
    "hosts": hosts.measure,
}
