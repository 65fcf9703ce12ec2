"""messages — the message that every benchmark sends, and its framing."""

__all__ = ["CONTENT", "FRAME_HEADER_BYTES", "SENDER", "framed", "request_for"]

from mailroom.v1 import mailroom_pb2 as pb

CONTENT = "x" * 200
SENDER = "bench"
FRAME_HEADER_BYTES = 5  # of gRPC: one byte for compression, four for the length


def request_for(recipient: str) -> pb.SendMessageRequest:
    """Returns the request for a message with 200 bytes of content."""
    return pb.SendMessageRequest(recipient=recipient, sender=SENDER, content=CONTENT)


def framed(message: bytes) -> bytes:
    """Returns a serialized request as the body of an HTTP/2 call."""
    return b"\0" + len(message).to_bytes(4, "big") + message
