"""The adapter for grpcio and the generated code: what any Python program without the SDK has."""

import asyncio
import base64
import platform
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf import json_format
from google.rpc import error_details_pb2, status_pb2  # pyright: ignore[reportMissingTypeStubs]
from lines import Json, Write, serve
from mailroom.v1 import mailroom_pb2 as pb

METHODS = {m.name: m for service in pb.DESCRIPTOR.services_by_name.values() for m in service.methods}
connections: dict[str, tuple[Any, list[tuple[str, str]]]] = {}


def open_connection(line: Json) -> None:
    options: list[tuple[str, int]] = [("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 8 << 20)]
    if keepalive := line.get("keepalive_ms"):
        options += [("grpc.keepalive_time_ms", keepalive), ("grpc.http2.max_pings_without_data", 0)]
    if ca := line.get("ca"):
        cert, key = (Path(line[name]).read_bytes() if line.get(name) else None for name in ("cert", "key"))
        tls = grpc.ssl_channel_credentials(Path(ca).read_bytes(), key, cert)
        channel = grpc.aio.secure_channel(line["target"], tls, options)
    else:
        channel = grpc.aio.insecure_channel(line["target"], options)
    token = line.get("token")
    connections[line["name"]] = (channel, [("authorization", f"Bearer {token}")] if token else [])


def error_of(error: grpc.aio.AioRpcError) -> Json:
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    bad, status = error_details_pb2.BadRequest(), status_pb2.Status()
    trailer = dict(cast("Any", error.trailing_metadata() or ()))
    status.ParseFromString(trailer.get("grpc-status-details-bin", b""))
    for detail in status.details:
        _ = detail.Unpack(info) or detail.Unpack(retry) or detail.Unpack(bad)
    result = {"code": error.code().name, "message": error.details(), "reason": info.reason, "domain": info.domain}
    result |= {"metadata": dict(info.metadata), "field": next((v.field for v in bad.field_violations), "")}
    return result | ({"retry_ms": retry.retry_delay.ToMilliseconds()} if retry.HasField("retry_delay") else {})


def callable_of(line: Json, method: Any) -> Any:
    channel, metadata = connections[line["on"]]
    kind = ("stream" if method.client_streaming else "unary") + ("_stream" if method.server_streaming else "_unary")
    parse = getattr(pb, method.output_type.name).FromString
    encode: Callable[[Any], bytes] = bytes if "raw" in line else lambda one: one.SerializeToString()
    call = getattr(channel, kind)(f"/{method.containing_service.full_name}/{method.name}", encode, parse)
    timeout = line["timeout_ms"] / 1000 if line.get("timeout_ms") else None
    return partial(call, timeout=timeout, metadata=metadata)


def request_of(line: Json, method: Any) -> Any:
    if "raw" in line:
        return base64.b64decode(line["raw"])
    request = json_format.ParseDict(line["request"], getattr(pb, method.input_type.name)())
    if line.get("nan"):
        request.metadata["not a number"] = float("nan")
    return request


async def handle(line: Json, write: Write) -> Json:
    if line["op"] == "open":
        open_connection(line)
        return {}
    method = METHODS[line.get("method", "SendMessages")]
    call = callable_of(line, method)
    try:
        if line["op"] == "unary":
            return {"ok": json_format.MessageToDict(await call(request_of(line, method)))}
        if line["op"] == "stream":
            async for event in call(request_of(line, method)):
                write({"event": json_format.MessageToDict(event)})
            return {"end": {"code": "OK"}}
        requests = (json_format.ParseDict(one, pb.SendMessagesRequest()) for one in line["requests"])
        return {"responses": [json_format.MessageToDict(one) async for one in call(requests)]}
    except grpc.aio.AioRpcError as error:
        return {"end" if line["op"] == "stream" else "error": error_of(error)}


HELLO = {"library": "grpcio", "version": grpc.__version__, "runtime": f"Python {platform.python_version()}"}
asyncio.run(serve({**HELLO, "kind": "library"}, handle))
