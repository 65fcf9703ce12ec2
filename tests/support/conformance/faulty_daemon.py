"""A daemon with a planted fault: a stand-in between a client and a real daemon, which changes requests and responses.

DAEMON_FAULTS has the faults; each overrides a part of `Fault`. What it changes are messages of the contract.
"""

import secrets
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from conformance.daemons import Certificates, Daemons, Guarded
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2
from mailroom.v1 import mailroom_pb2 as pb

DETAILS = "grpc-status-details-bin"
Events = Iterable[pb.SubscribeResponse]
Detail = type[error_details_pb2.ErrorInfo] | type[error_details_pb2.RetryInfo]


class Fault:
    """No fault: what a faulty daemon does otherwise is what its class overrides."""

    hidden_detail: Detail | None = None  # of errors

    def request(self, request: Any) -> Any:
        """Returns the request that the real daemon gets."""
        return request

    def answer(self, request: Any) -> Any:
        """Returns an answer without asking the real daemon, or None."""
        del request

    def response(self, response: Any) -> Any:
        """Returns the response that the client gets."""
        return response

    def events(self, events: Events) -> Events:
        """Returns the events that the client gets."""
        return events


class AnswersBeforeItStores(Fault):
    def answer(self, request: Any) -> Any:
        if isinstance(request, pb.SendMessageRequest):
            message = pb.Message(id="1a205a7480d00000", recipient=request.recipient, sender=request.sender)
            return pb.SendMessageResponse(message=message, delivery=pb.Delivery(state=pb.DELIVERY_STATE_FILED))
        return None


class ForgetsKeys(Fault):
    def request(self, request: Any) -> Any:
        if isinstance(request, pb.SendMessageRequest):
            request.ClearField("idempotency_key")
        return request


class ForgetsPlaces(Fault):
    def request(self, request: Any) -> Any:
        if isinstance(request, pb.SubscribeRequest):
            request.ClearField("after_id")
        return request


class IgnoresAcknowledgements(Fault):
    def answer(self, request: Any) -> Any:
        if isinstance(request, pb.AcknowledgeMessagesRequest):
            return pb.AcknowledgeMessagesResponse(acknowledged_ids=request.message_ids)
        return None


class EndsWaitsAtOnce(Fault):
    def request(self, request: Any) -> Any:
        if isinstance(request, pb.CheckInboxRequest):
            request.ClearField("wait")
        return request


class LosesMetadata(Fault):
    def response(self, response: Any) -> Any:
        for message in response.messages if isinstance(response, pb.CheckInboxResponse) else ():
            message.ClearField("metadata")
        return response


class RepeatsPages(Fault):
    def response(self, response: Any) -> Any:
        if isinstance(response, pb.ListMessagesResponse) and len(response.messages) > 1:
            response.messages[-1].CopyFrom(response.messages[0])
        return response


class SwapsResults(Fault):
    def response(self, response: Any) -> Any:
        if isinstance(response, pb.SendMessagesResponse) and len(response.results) > 1:
            first = pb.SendResult.FromString(response.results[0].SerializeToString())
            response.results[0].CopyFrom(response.results[-1])
            response.results[-1].CopyFrom(first)
        return response


class DropsAnEvent(Fault):
    def events(self, events: Events) -> Events:
        return (event for number, event in enumerate(events) if number != 3)


class RepeatsAnEvent(Fault):
    def events(self, events: Events) -> Events:
        for number, event in enumerate(events):
            yield event
            if number == 3:
                yield event


class CatchesUpTooEarly(Fault):
    def events(self, events: Events) -> Events:
        yield pb.SubscribeResponse(event_id="0" * 16, caught_up=pb.CaughtUp(last_id="0" * 16))
        yield from (event for event in events if not event.HasField("caught_up"))


class HidesReasons(Fault):
    hidden_detail = error_details_pb2.ErrorInfo


class HidesDelays(Fault):
    hidden_detail = error_details_pb2.RetryInfo


DAEMON_FAULTS: dict[str, type[Fault]] = {
    "none": Fault,
    "answers before it stores": AnswersBeforeItStores,
    "forgets keys": ForgetsKeys,
    "forgets places": ForgetsPlaces,
    "ignores acknowledgements": IgnoresAcknowledgements,
    "ends waits at once": EndsWaitsAtOnce,
    "loses metadata": LosesMetadata,
    "repeats a message on a page": RepeatsPages,
    "swaps results of a batch": SwapsResults,
    "drops an event": DropsAnEvent,
    "repeats an event": RepeatsAnEvent,
    "catches up too early": CatchesUpTooEarly,
    "hides reasons": HidesReasons,
    "hides delays": HidesDelays,
}


class FaultyDaemon:
    """The stand-in: a gRPC server on a socket, which asks a real daemon.

    Attributes:
        target: its gRPC target.
    """

    def __init__(self, directory: Path, real: str, fault: Fault) -> None:
        self.target = f"unix://{directory}/{secrets.token_hex(3)}.sock"
        self._fault = fault
        self._channel = grpc.insecure_channel(real)
        self._pool = ThreadPoolExecutor(32)
        self._server = grpc.server(self._pool)
        methods = pb.DESCRIPTOR.services_by_name["MailboxService"].methods
        handlers = {method.name: self._handler(method) for method in methods}
        service = grpc.method_handlers_generic_handler("mailroom.v1.MailboxService", handlers)
        self._server.add_generic_rpc_handlers((service,))
        self._server.add_insecure_port(self.target)
        self._server.start()

    def close(self) -> None:
        """Ends the server; its calls end at once."""
        self._server.stop(0).wait()
        self._channel.close()
        self._pool.shutdown(wait=False)

    def _handler(self, method: Any) -> Any:
        kind = ("stream" if method.client_streaming else "unary", "stream" if method.server_streaming else "unary")
        parse, fault = GetMessageClass(method.output_type).FromString, self._fault
        new_call: Any = getattr(self._channel, f"{kind[0]}_{kind[1]}")
        ask = new_call(f"/mailroom.v1.MailboxService/{method.name}", _encoded, parse)

        def unary(request: Any, context: grpc.ServicerContext) -> Any:
            if (made_up := fault.answer(request)) is not None:
                return made_up
            with self._errors_passed_on(context):
                return fault.response(ask(fault.request(request), timeout=_time_left(context)))

        def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._errors_passed_on(context):
                responses = ask(fault.request(request), timeout=_time_left(context))
                context.add_callback(responses.cancel)
                if method.client_streaming:
                    yield from map(fault.response, responses)
                else:
                    yield from fault.events(responses)

        new_handler: Any = getattr(grpc, f"{kind[0]}_{kind[1]}_rpc_method_handler")
        decode = GetMessageClass(method.input_type).FromString
        behavior = stream if method.server_streaming else unary
        return new_handler(behavior, decode, _encoded)

    @contextmanager
    def _errors_passed_on(self, context: grpc.ServicerContext) -> Generator[None]:
        try:
            yield
        except grpc.RpcError as failed:
            error: Any = failed
            kept = [(key, self._details(value)) for key, value in error.trailing_metadata() or () if key == DETAILS]
            context.set_trailing_metadata(tuple(kept))
            context.abort(error.code(), error.details() or "")

    def _details(self, encoded: bytes) -> bytes:
        status = status_pb2.Status.FromString(encoded)
        hidden = self._fault.hidden_detail
        kept = [one for one in status.details if hidden is None or one.TypeName() != hidden.DESCRIPTOR.full_name]
        del status.details[:]
        status.details.extend(kept)
        return status.SerializeToString()


def _encoded(message: Message) -> bytes:
    return message.SerializeToString()


def _time_left(context: grpc.ServicerContext) -> float | None:
    """Returns the seconds until a call's deadline; None if it has none, which gRPC tells as a time without end."""
    left_sec = context.time_remaining()
    return left_sec if left_sec < 1e6 else None


class FaultyDaemons(Daemons):
    """Real daemons whose sockets lead to a stand-in with a fault; close it, and the real ones stay."""

    def __init__(self, real: Daemons, fault: str) -> None:
        self.directory = real.directory
        self._real = real
        self._fault = fault
        self._standing_in: dict[str, FaultyDaemon] = {}

    @property
    def certificates(self) -> Certificates:
        """Those of the real daemons."""
        return self._real.certificates

    def __getitem__(self, name: str) -> Guarded:
        guarded = self._real[name]
        if name not in self._standing_in:
            fault = DAEMON_FAULTS[self._fault]()
            self._standing_in[name] = FaultyDaemon(self.directory, guarded.socket, fault)
        return _Behind(guarded, self._standing_in[name].target)

    def close(self) -> None:
        """Ends the stand-ins."""
        for one in self._standing_in.values():
            one.close()


class _Behind(Guarded):
    """A daemon behind a stand-in; everything but its socket is the real one's."""

    def __init__(self, real: Guarded, target: str) -> None:
        self.__dict__.update(real.__dict__)
        self._target = target

    @property
    def socket(self) -> str:
        """The socket of the stand-in."""
        return self._target
