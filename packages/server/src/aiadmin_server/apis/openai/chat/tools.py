"""The tools of a chat completion, and the functions they replaced, as core's; and how their calls are to be told. Pure;
used by `to_core` and `route`."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ToolChoice

from ....serving.call import portable
from .. import custom
from . import wire

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


class Offer(Struct, frozen=True, kw_only=True):
    """What an answer may call."""

    tools: tuple[Tool, ...]
    choice: ToolChoice
    names: dict[str, str]
    """Where a neutral error's path is found in the request."""


class Telling(Struct, frozen=True, kw_only=True):
    """How calls are told to who asked."""

    custom: frozenset[str] = frozenset()
    """Names of tools whose input is text."""
    legacy: bool = False
    """As the one `function_call` of a message."""


def telling(data: wire.ChatCompletionRequest) -> Telling:
    """As they were asked for."""
    return Telling(
        custom=frozenset(tool.custom.name for tool in data.tools or () if isinstance(tool, wire.CustomTool)),
        legacy=bool(data.functions),
    )


def offered(data: wire.ChatCompletionRequest) -> Offer:
    """Raises `BadRequest` naming what contradicts the rest."""
    for old, new in (("functions", "tools"), ("function_call", "tool_choice")):
        others = [name for name in ("tools", "tool_choice") if getattr(data, name) is not None]
        if getattr(data, old) is not None and others:
            raise BadRequest(
                f"'{old}' cannot be sent beside '{others[0]}'.", hint=f"Send '{new}' instead of it.", param=old
            )
    if data.functions or data.function_call is not None:
        return _legacy(data.functions or (), data.function_call)
    tools = data.tools or ()
    found = tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(tools))
    _check_names([tool.name for tool in found], [_path(tool, index) + ".name" for index, tool in enumerate(tools)])
    return Offer(tools=found, choice=_choice(data, tools), names=dict(_names(tools)))


def _legacy(functions: Sequence[wire.FunctionDefinition], choice: str | wire.FunctionName | None) -> Offer:
    """An answer to these calls one function at most."""
    paths = [f"functions[{index}]" for index in range(len(functions))]
    _check_names([function.name for function in functions], [f"{path}.name" for path in paths])
    mode: Any = choice
    names: tuple[str, ...] = ()
    if not functions and choice not in ("none", "auto"):
        raise BadRequest("'function_call' is only allowed when 'functions' are given.", param="function_call")
    if isinstance(choice, wire.FunctionName):
        mode, names = "required", (choice.name,)
        if choice.name not in {function.name for function in functions}:
            raise _unknown(choice.name, "function_call.name", "functions")
    return Offer(
        tools=tuple(_function(function, path) for function, path in zip(functions, paths, strict=True)),
        choice=ToolChoice(mode=mode or "auto", names=names, parallel=False),
        names={"tools": "functions", "tool_choice": "function_call"},
    )


def _tool(tool: wire.FunctionTool | wire.CustomTool, path: str) -> Tool:
    if isinstance(tool, wire.FunctionTool):
        return _function(tool.function, f"{path}.function")
    definition = tool.custom
    grammar = definition.format.grammar if isinstance(definition.format, wire.CustomGrammar) else None
    pattern = grammar.definition if grammar and grammar.syntax == "regex" else None
    lark = grammar.definition if grammar and grammar.syntax == "lark" else None
    return Tool(
        name=definition.name,
        description=definition.description or "",
        parameters=custom.parameters(pattern, lark),
        strict=grammar is not None,
        text_grammar=lark,
    )


def _function(function: wire.FunctionDefinition, path: str) -> Tool:
    parameters = function.parameters
    kind = (parameters or {}).get("type", "object")
    if kind != "object" and not (isinstance(kind, list) and "object" in kind):
        path = f"{path}.parameters"
        raise BadRequest(
            f"'{path}' must be a schema of the type 'object', not {kind!r}.",
            hint="The arguments of a function are named.",
            param=path,
        )
    return Tool(
        name=function.name,
        description=function.description or "",
        parameters=None if parameters is None else portable(parameters, f"{path}.parameters"),
        strict=bool(function.strict),
    )


def _check_names(names: Sequence[str], paths: Sequence[str]) -> None:
    seen: dict[str, str] = {}
    for name, path in zip(names, paths, strict=True):
        if not _NAME.fullmatch(name):
            raise BadRequest(f"'{path}' must be 1 to 64 letters of a-z, A-Z, 0-9, _ and -.", param=path)
        if name in seen:
            raise BadRequest(f"'{path}' is that of '{seen[name]}', too: '{name}'.", param=path)
        seen[name] = path


def _path(tool: wire.FunctionTool | wire.CustomTool, index: int) -> str:
    return f"tools[{index}].{'function' if isinstance(tool, wire.FunctionTool) else 'custom'}"


def _names(tools: Sequence[wire.FunctionTool | wire.CustomTool]) -> Iterator[tuple[str, str]]:
    for index, tool in enumerate(tools):
        path = _path(tool, index)
        yield f"tools[{index}]", path
        if isinstance(tool, wire.CustomTool):
            yield f"tools[{index}].strict", f"{path}.format"
            yield f"tools[{index}].parameters", f"{path}.format.grammar.definition"
            yield f"tools[{index}].text_grammar", f"{path}.format.grammar.definition"


def _choice(data: wire.ChatCompletionRequest, tools: Sequence[wire.FunctionTool | wire.CustomTool]) -> ToolChoice:
    choice, parallel = data.tool_choice, data.parallel_tool_calls is not False
    if choice is None:
        return ToolChoice(parallel=parallel)
    if not tools and choice not in ("none", "auto"):
        raise BadRequest("'tool_choice' is only allowed when 'tools' are given.", param="tool_choice")
    if isinstance(choice, str):
        return ToolChoice(mode=choice, parallel=parallel)
    if isinstance(choice, wire.AllowedToolsChoice):
        path = "tool_choice.allowed_tools.tools"
        allowed = choice.allowed_tools.tools
        if not allowed:
            raise BadRequest(f"'{path}' must name at least one tool.", param=path)
        names = tuple(_chosen(one, tools, f"{path}[{index}]") for index, one in enumerate(allowed))
        return ToolChoice(mode=choice.allowed_tools.mode, names=names, parallel=parallel)
    name = _chosen(choice, tools, "tool_choice")  # "call exactly one specific function", says OpenAI's guide
    return ToolChoice(mode="required", names=(name,), parallel=data.parallel_tool_calls is True)


def _chosen(
    choice: wire.FunctionChoice | wire.CustomChoice, tools: Sequence[wire.FunctionTool | wire.CustomTool], path: str
) -> str:
    if isinstance(choice, wire.FunctionChoice):
        known = {tool.function.name for tool in tools if isinstance(tool, wire.FunctionTool)}
        name, path = choice.function.name, f"{path}.function.name"
    else:
        known = {tool.custom.name for tool in tools if isinstance(tool, wire.CustomTool)}
        name, path = choice.custom.name, f"{path}.custom.name"
    if name not in known:
        raise _unknown(name, path, "tools")
    return name


def _unknown(name: str, path: str, among: str) -> BadRequest:
    return BadRequest(f"'{path}' is '{name}', which is not among '{among}'.", param=path)
