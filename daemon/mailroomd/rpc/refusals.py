"""refusals — counts what this gateway refuses, by reason.

There is one for the process, as of the log: refusing happens in one function (`rpc.status.refuse`), which belongs to no
object. Until it is attached to the gateway's numbers, it counts for nobody.
"""

__all__ = ["refusals"]

from mailroomd.ipc.metrics_block import MetricsBlock
from mailroomd.model.errors import Reason
from mailroomd.model.metrics import REFUSALS


class Refusals:
    """The counter."""

    def __init__(self) -> None:
        self._metrics = MetricsBlock.private()

    def attach(self, metrics: MetricsBlock) -> None:
        """Counts in a worker's numbers from now on."""
        self._metrics = metrics

    def count(self, reason: Reason) -> None:
        """Counts one refusal."""
        self._metrics.count(REFUSALS.word(reason))


refusals = Refusals()
