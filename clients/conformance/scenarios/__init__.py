"""Scenarios — importing this package fills `conformance.scenario.SCENARIOS`, in the order of the table."""

__all__ = ["access", "errors", "inbox", "limits", "restarts", "sending", "streams", "transport", "values"]

# isort: off
from conformance.scenarios import sending, streams, restarts, inbox, errors, access, limits, values, transport
