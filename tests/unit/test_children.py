"""Mailroom's topology: which worker has which queue, and where the gateways listen."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mailroomd.model.settings import Settings
from mailroomd.supervisor.children import mailroom_children
from mailroomd.worker.config import CommandQueueConfig, GatewayConfig, MailboxConfig

LISTEN = ("unix:/run/a.sock", "127.0.0.1:0")


Configs = Callable[..., dict[str, object]]


@pytest.fixture
def configs() -> Iterator[Configs]:
    """Creates the configs by worker name, and closes what they hold at the end."""
    created: list[object] = []

    def create(gateways: int, bound: tuple[str, ...] = ()) -> dict[str, object]:
        settings = Settings(root=Path("/r"), state_dir=Path("/s"), listen=LISTEN, gateways=gateways)
        by_name = {spec.name: spec.configure(bound) for spec in mailroom_children(settings)}
        created.extend(by_name.values())
        return by_name

    yield create
    for config in created:
        if isinstance(config, MailboxConfig):
            config.table.close()
            for queue in (*config.requests, *config.events, config.writes, config.outcomes):
                queue.close()
        elif isinstance(config, CommandQueueConfig):
            for queue in config.answers:
                queue.close()


def test_children_start_from_the_database_up_to_the_gateways(configs: Configs) -> None:
    assert list(configs(3)) == ["command-queue", "mailbox", "gateway", "gateway-1", "gateway-2"]


def test_every_queue_has_two_ends_and_every_worker_shares_one_table(configs: Configs) -> None:
    by_name = configs(2)
    command_queue, mailbox, *gateways = by_name.values()
    assert isinstance(command_queue, CommandQueueConfig)
    assert isinstance(mailbox, MailboxConfig)
    assert (command_queue.writes, command_queue.outcomes) == (mailbox.writes, mailbox.outcomes)
    assert command_queue.table is mailbox.table
    assert len(mailbox.requests) == len(mailbox.events) == len(command_queue.answers) == len(gateways) == 2
    for gateway in gateways:
        assert isinstance(gateway, GatewayConfig)
        assert gateway.requests is mailbox.requests[gateway.gateway]
        assert gateway.events is mailbox.events[gateway.gateway]
        assert gateway.answers is command_queue.answers[gateway.gateway]
        assert gateway.table is mailbox.table


def test_a_restarted_gateway_keeps_its_port_and_only_the_first_uses_unix_sockets(configs: Configs) -> None:
    def listens(bound: tuple[str, ...]) -> list[tuple[str, ...]]:
        return [config.listen for config in configs(2, bound).values() if isinstance(config, GatewayConfig)]

    assert listens(()) == [LISTEN, ("127.0.0.1:0",)]
    bound = ("unix:/run/a.sock", "127.0.0.1:43567")
    assert listens(bound) == [bound, ("127.0.0.1:43567",)]
