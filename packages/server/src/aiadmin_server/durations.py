"""How long a model stays: `keep_alive` as requests, aliases and settings write it. Pure."""

import re

FOREVER = float("inf")


def parse_duration(value: str | float) -> float:
    """Seconds of a `keep_alive`: a number of seconds, or text such as `300`, `10m`, `1h30m`, `-1`.

    Negative is `FOREVER`. Raises `ValueError`.
    """
    if isinstance(value, bool):
        raise ValueError("a duration is a number or a text such as '10m'")
    if isinstance(value, int | float) or re.fullmatch(r"[+-]?\d+(\.\d+)?", value):
        seconds = float(value)
    else:
        match = re.fullmatch(r"([+-]?)((?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+)", value)
        if not match:
            raise ValueError(f"'{value}' is no duration: write seconds, or a text such as '10m' or '1h30m'")
        units = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
        parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", match[2])
        seconds = sum(float(number) * units[unit] for number, unit in parts)
        seconds = -seconds if match[1] == "-" else seconds
    if seconds != seconds:  # NaN
        raise ValueError("a duration is a number")
    return FOREVER if seconds < 0 else seconds
