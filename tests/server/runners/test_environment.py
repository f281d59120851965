"""What runners are started with."""

from aiadmin_server.runners.environment import MALLOC, runner_environment


def test_memory_is_given_back_unless_somebody_says_otherwise():
    assert runner_environment({"PATH": "/bin"}).items() >= {**MALLOC, "PATH": "/bin"}.items()
    assert runner_environment({"MALLOC_ARENA_MAX": "8"})["MALLOC_ARENA_MAX"] == "8"


def test_what_a_runner_writes_arrives_at_once_and_whole():
    found = runner_environment({"PYTHONIOENCODING": "ascii"})
    assert (found["PYTHONUNBUFFERED"], found["PYTHONIOENCODING"]) == ("1", "utf-8:backslashreplace")
