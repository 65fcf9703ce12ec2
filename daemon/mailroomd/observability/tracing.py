"""tracing — OpenTelemetry spans of a message's path through the processes; off without `--trace`.

Owns this process's tracer and exporter, and the W3C `traceparent` texts that travel on the queues. Like the log, there
is one per process. OpenTelemetry, which the extra `tracing` installs, is imported only when tracing is on.
Invariant: off, tracing costs one attribute lookup; on, a missing collector loses spans and nothing else.
"""

__all__ = ["TracingNotInstalled", "tracing"]

import time
from pathlib import Path
from typing import Any


class TracingNotInstalled(Exception):  # noqa: N818 - names a condition, not an error
    """`--trace` was given, but OpenTelemetry is not installed."""

    def __init__(self) -> None:
        super().__init__("--trace needs OpenTelemetry. Install mailroomd[tracing], or start without --trace.")


class Tracing:
    """The tracer of this process."""

    def __init__(self) -> None:
        self.is_on = False
        self._provider: Any = None
        self._tracer: Any = None
        self._propagator: Any = None

    def configure(self, process: str, target: str) -> None:
        """Starts tracing to a target, `file:PATH` or the URL of an OTLP collector; an empty target leaves it off.

        Raises:
            TracingNotInstalled: OpenTelemetry is missing.
        """
        if not target:
            return
        try:
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

            exporter = _exporter(target)
        except ImportError as error:
            raise TracingNotInstalled from error
        names = {"service.name": "mailroomd", "service.instance.id": process}
        self._provider = TracerProvider(resource=Resource.create(names), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("mailroomd")
        self._propagator = TraceContextTextMapPropagator()
        self.is_on = True

    def start_span(self, name: str, parent: str, start_ns: int = 0, **attributes: str) -> Any:
        """Starts a span below the span of a `traceparent`, or a new trace if that is empty.

        Args:
            start_ns: nanoseconds since 1970; 0 for now.
        """
        context = self._propagator.extract({"traceparent": parent}) if parent else None
        return self._tracer.start_span(
            name, context=context, start_time=start_ns or time.time_ns(), attributes=attributes
        )

    def traceparent_of(self, span: Any) -> str:
        """Returns the `traceparent` of a span, for the spans below it."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._propagator.inject(carrier, set_span_in_context(span))
        return carrier.get("traceparent", "")

    def record_span(self, name: str, parent: str, start_ns: int, **attributes: str) -> None:
        """Records a span that started at `start_ns` and ends now."""
        self.start_span(name, parent, start_ns, **attributes).end()

    def shutdown(self) -> None:
        """Exports the remaining spans."""
        if self._provider is not None:
            self._provider.shutdown()


tracing = Tracing()


def _exporter(target: str) -> Any:
    if not target.startswith("file:"):
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        return OTLPSpanExporter(endpoint=target)
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter

    file = Path(target.removeprefix("file:")).open("a", encoding="utf-8")  # noqa: SIM115 - open as long as the process

    def as_line(span: Any) -> str:
        return f"{span.to_json(indent=None)}\n"

    return ConsoleSpanExporter(out=file, formatter=as_line)
