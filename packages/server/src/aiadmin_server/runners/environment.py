"""What a runner's process is started with, beside what it is told. Pure."""

from collections.abc import Mapping

MALLOC = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(4 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
}
"""For glibc, in bytes; other systems read none of it. Left alone, it has an arena for each thread, and once a kept
prefix was given back it puts such blocks among the small ones, where what is freed stays: 55 MB of SmolLM2's after a
hundred requests. The last one: arrays of a few MB that a step makes and drops are not fetched from the system anew each
time."""


def runner_environment(servers: Mapping[str, str]) -> dict[str, str]:
    """The server's own, whose word on memory counts, and UTF-8 that arrives at once."""
    return {**MALLOC, **servers, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}
