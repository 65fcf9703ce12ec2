"""SupervisorService — the operators' view of the daemon, read from the control page that the supervisor writes."""

__all__ = ["SupervisorService"]

from collections.abc import Callable

from google.protobuf import duration_pb2
from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.core.host_directory import HostDirectory
from mailroomd.gateway.call import Call
from mailroomd.gateway.conversion import timestamp_from_ms
from mailroomd.gateway.host_conversion import hub_to_proto
from mailroomd.ipc.control_page import ControlPage, WorkerStatus
from mailroomd.ipc.worker_metrics import read_metrics
from mailroomd.model.settings import Settings


class SupervisorService:
    """The methods of mailroom.v1.SupervisorService.

    Args:
        control: the supervisor's page.
        settings: returns the settings that hold now.
        hosts: the other hosts.
    """

    def __init__(self, control: ControlPage, settings: Callable[[], Settings], hosts: HostDirectory) -> None:
        self._control = control
        self._settings = settings
        self._hosts = hosts

    async def get_status(self, _: pb.GetStatusRequest, __: Call) -> pb.GetStatusResponse:
        """Returns the state of the daemon and its workers."""
        daemon, settings = self._control.daemon(), self._settings()
        keep_read = duration_pb2.Duration()
        keep_read.FromMilliseconds(round(settings.keep_read_sec * 1000))
        return pb.GetStatusResponse(
            version=daemon.version,
            started_at=timestamp_from_ms(daemon.started_at_ms),
            workers=map(_worker_to_proto, self._control.statuses()),
            keep_read=keep_read,
            max_unread=settings.max_unread,
            hub=hub_to_proto(self._hosts.content()) if self._hosts.is_configured() else None,
        )

    async def get_metrics(self, _: pb.GetMetricsRequest, __: Call) -> pb.GetMetricsResponse:
        """Returns the metrics of all workers."""
        samples = [sample for family in read_metrics(self._control) for sample in family.samples]
        return pb.GetMetricsResponse(
            samples=[
                pb.MetricSample(name=sample.name, labels=dict(sample.labels), value=sample.value) for sample in samples
            ]
        )


def _worker_to_proto(status: WorkerStatus) -> pb.WorkerStatus:
    return pb.WorkerStatus(
        name=status.name,
        pid=status.pid,
        state=status.state,
        restarts=status.restarts,
        started_at=timestamp_from_ms(status.started_at_ms),
        last_exit=status.last_exit,
    )
