"""The server's log as JSON lines."""

import json
import logging
import sys

from aiadmin_server.logs import JsonLines


def line(message="a %s", *arguments, **more):
    record = logging.LogRecord("aiadmin.server", logging.WARNING, "", 0, message, arguments, more.pop("exc_info", None))
    record.__dict__.update(more)
    text = JsonLines().format(record)
    assert "\n" not in text
    return json.loads(text)


def test_a_message_is_one_object_in_one_line():
    found = line("two\nlines of %s", "text")
    assert found.pop("time").endswith("+00:00")
    assert found == {"level": "warning", "logger": "aiadmin.server", "message": "two\nlines of text"}


def test_fields_stand_for_themselves():
    assert line("status=200", fields={"status": 200, "who": None})["status"] == 200


def test_a_traceback_is_kept():
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        assert "ZeroDivisionError" in line("failed", exc_info=sys.exc_info())["traceback"]


def test_what_json_has_no_word_for_is_text():
    assert line("x", fields={"path": sys})["path"] == str(sys)
