"""unary_client — publisher and subscriber for Mailroom: the generated stub, with a unary call for each message."""

__all__ = ["MODULE"]

from grpc import aio
from mailroom.v1 import mailroom_pb2 as pb

from benchmarks.clients.broker_job import BrokerJob, publish_each, serve
from benchmarks.clients.control import SEND_MESSAGE
from benchmarks.clients.mailroom_client import consume
from benchmarks.clients.messages import request_for

MODULE = "benchmarks.clients.unary_client"
CALL_TIMEOUT_SEC = 30.0  # the SDK's own


async def _publish(job: BrokerJob) -> None:
    async with aio.insecure_channel(job.address) as channel:
        call = channel.unary_unary(
            SEND_MESSAGE,
            request_serializer=pb.SendMessageRequest.SerializeToString,
            response_deserializer=pb.SendMessageResponse.FromString,
        )
        await publish_each(job, lambda: call(request_for(job.agent), timeout=CALL_TIMEOUT_SEC))


if __name__ == "__main__":
    serve(_publish, consume)
