"""format_age — durations in their largest unit, for people."""

__all__ = ["format_age"]

_UNITS = (("d", 86_400), ("h", 3_600), ("m", 60))  # in seconds, largest first


def format_age(seconds: float) -> str:
    """Returns an age in its largest unit, for example "3m"."""
    for unit, length_sec in _UNITS:
        if seconds >= length_sec:
            return f"{int(seconds // length_sec)}{unit}"
    return f"{int(seconds)}s"
