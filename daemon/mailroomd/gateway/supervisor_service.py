"""SupervisorService — the operators' view: the supervisor's own words, read from the control page."""

__all__ = ["SERVICE", "SupervisorService"]


from mailroom.v1 import mailroom_pb2 as pb

from mailroomd.gateway.conversion import timestamp
from mailroomd.gateway.handlers import Context, Handler, unary
from mailroomd.ipc.control_page import ControlPage, WorkerStatus
from mailroomd.ipc.worker_metrics import read_metrics

SERVICE = "mailroom.v1.SupervisorService"


class SupervisorService:
    """The methods of mailroom.v1.SupervisorService."""

    def __init__(self, control: ControlPage) -> None:
        self._control = control

    def handlers(self) -> dict[str, Handler]:
        """Returns the handler of each method, by its name."""
        return {
            "GetStatus": unary(pb.GetStatusRequest, self.get_status),
            "GetMetrics": unary(pb.GetMetricsRequest, self.get_metrics),
        }

    async def get_status(self, _: pb.GetStatusRequest, __: Context) -> pb.GetStatusResponse:
        """Returns how the daemon and its workers are."""
        daemon = self._control.daemon()
        return pb.GetStatusResponse(
            version=daemon.version,
            started_at=timestamp(daemon.started_at_ms),
            workers=map(_worker, self._control.statuses()),
        )

    async def get_metrics(self, _: pb.GetMetricsRequest, __: Context) -> pb.GetMetricsResponse:
        """Returns what every worker has counted."""
        samples = [sample for family in read_metrics(self._control) for sample in family.samples]
        return pb.GetMetricsResponse(
            samples=[pb.MetricSample(name=one.name, labels=dict(one.labels), value=one.value) for one in samples]
        )


def _worker(status: WorkerStatus) -> pb.WorkerStatus:
    return pb.WorkerStatus(
        name=status.name,
        pid=status.pid,
        state=status.state,
        restarts=status.restarts,
        started_at=timestamp(status.started_at_ms),
        last_exit=status.last_exit,
    )
