"""process — the relay's start: reads the hub file, and says what is missing. Not here: its work (`relay.relay`)."""

__all__ = ["main"]

import uvloop

from mailroomd.worker.config import RelayConfig
from mailroomd.worker.runner import CannotStart, WorkerContext

_NOT_INSTALLED = "--hub needs further packages: pip install 'mailroomd[hub]'"


def main(context: WorkerContext, config: RelayConfig) -> None:
    """Runs the relay until the supervisor stops it.

    Raises:
        CannotStart: the hub file cannot be used, or the packages are missing.
    """
    try:
        from mailroomd.relay.hub_file import HubFileUnusable, read_hub_file
        from mailroomd.relay.relay import Relay
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("nats", "nacl"):
            raise
        raise CannotStart(_NOT_INSTALLED) from error
    try:
        assert context.settings.hub is not None  # there is no relay without
        hub_file = read_hub_file(context.settings.hub)
    except HubFileUnusable as error:
        raise CannotStart(str(error)) from error

    async def run() -> None:
        await Relay(context, config, hub_file).run()

    uvloop.run(run())
