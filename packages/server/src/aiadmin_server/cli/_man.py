"""The manual page, from the same help that `--help` prints, in the macros of man(7). Pure."""

import inspect
import re
from collections.abc import Iterator

import click

TITLE = '.TH AIADMIN 1 "" "AiAdmin {version}" "User Commands"'


def page(group: click.Group, version: str) -> str:
    """The page of a group: its help, then every verb with its options and its own verbs."""
    ctx = click.Context(group, info_name="aiadmin")
    lines = [
        TITLE.format(version=version),
        ".SH NAME",
        f"aiadmin \\- {_first_sentence(group)}",
        ".SH SYNOPSIS",
        ".B aiadmin",
        ".I VERB",
        "[OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        *_help(group),
        ".SH VERBS",
        *_verbs(group, ctx),
        ".SH EXIT STATUS",
        "0 done, 1 failed, 2 misused, 130 interrupted.",
        ".SH FILES",
        "`aiadmin config path` says where the settings file is, `aiadmin config show` where everything else.",
    ]
    return "\n".join(lines) + "\n"


def _verbs(group: click.Group, ctx: click.Context) -> Iterator[str]:
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if command is None or command.hidden:
            continue
        own = click.Context(command, info_name=name, parent=ctx)
        yield f".SS {escaped(own.command_path)}"
        yield f".B {escaped(own.command_path)}"
        yield escaped(" ".join(command.collect_usage_pieces(own)))
        yield ".PP"
        yield from _help(command)
        for parameter in command.get_params(own):
            if isinstance(parameter, click.Option) and (record := parameter.get_help_record(own)):
                yield ".TP"
                yield f".B {escaped(record[0])}"
                yield escaped(record[1]) or "\\&"
        if isinstance(command, click.Group):
            yield from _verbs(command, own)


def _help(command: click.Command) -> Iterator[str]:
    """A help text's paragraphs; those after a line with \\b keep their lines."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b\n"):
            yield from (".nf", *map(escaped, paragraph.split("\n")[1:]), ".fi")
        else:
            yield escaped(" ".join(paragraph.split()))
        yield ".PP"


def escaped(text: str) -> str:
    """Text that means itself."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return re.sub(r"^([.'])", r"\\&\1", text)


def _first_sentence(command: click.Command) -> str:
    return escaped(inspect.cleandoc(command.help or "").split("\n")[0].rstrip("."))
