"""MetricsPage — the metrics that a running daemon serves, parsed as Prometheus parses them."""

__all__ = ["MetricsPage"]

import json
import urllib.request
from collections.abc import Iterable
from typing import Any

from mailroomd.auth.token_file import TokenFile
from mailroomd.model.clock import now_ms
from prometheus_client.parser import text_string_to_metric_families
from support.harness.daemon import Daemon


class MetricsPage:
    """The page of a daemon that was started with `--metrics 127.0.0.1:0 --log-format json`."""

    def __init__(self, daemon: Daemon) -> None:
        lines = (json.loads(line) for line in daemon.log().splitlines() if line.startswith("{"))
        token, _ = TokenFile(daemon.state_dir).create(None, now_ms())
        self.authorization = f"Bearer {token}"
        self.url = [line["url"] for line in lines if line["event"] == "serving metrics"][-1]

    def read(self) -> list[Any]:
        """Returns every sample, with name, labels and value."""
        request = urllib.request.Request(self.url, headers={"Authorization": self.authorization})
        with urllib.request.urlopen(request, timeout=5) as response:
            text = response.read().decode()
        families: Iterable[Any] = text_string_to_metric_families(text)
        return [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum of the samples with this name and these labels."""
        return sum(
            sample.value
            for sample in self.read()
            if sample.name == f"mailroom_{name}" and labels.items() <= dict(sample.labels).items()
        )
