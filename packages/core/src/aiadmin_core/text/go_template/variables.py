"""A conversation as Go templates see it: `.Messages`, `.Tools`, `.System` and what is in them. Pure; used by `chat`.

The names are those of Ollama's API (api/types.go and template/template.go there).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .values import Ordered, Record, Types


def message_records(messages: Iterable[Mapping[str, Any]]) -> list[Record]:
    """Messages as `conversation.to_dicts` writes them. Neighbours of one role are one message, but tools' results and
    what calls tools."""
    records: list[Record] = []
    for message in messages:
        record = _message(message)
        former = records[-1].fields if records else None
        if former is not None and former["Role"] == record.fields["Role"] and _joins(former, record.fields):
            records[-1] = _message_record({**former, "Content": f"{former['Content']}\n\n{record.fields['Content']}"})
        else:
            records.append(record)
    return records


def tool_records(tools: Sequence[Mapping[str, Any]]) -> list[Record]:
    """Tools as `conversation.tools_to_dicts` writes them."""
    return [_tool(tool) for tool in tools]


def _joins(former: Mapping[str, Any], latter: Mapping[str, Any]) -> bool:
    apart = former["Role"] == "tool" or former["ToolCalls"] or latter["ToolCalls"] or latter["Thinking"]
    return not apart


def _message(message: Mapping[str, Any]) -> Record:
    is_result = message["role"] == "tool"
    fields = {
        "Role": message["role"],
        "Content": message["content"] or "",
        "Thinking": message.get("reasoning") or "",
        "Images": [],
        "ToolCalls": [_call(index, call) for index, call in enumerate(message.get("tool_calls") or ())],
        "ToolName": (message.get("name") or "") if is_result else "",
        "ToolCallID": message.get("tool_call_id") or "",
    }
    return _message_record(fields)


def _message_record(fields: Mapping[str, Any]) -> Record:
    plain = Ordered(role=fields["Role"], content=fields["Content"])
    plain.update((name, fields[key]) for name, key in _OPTIONAL if fields[key])
    return Record("a message", fields, plain)


_OPTIONAL = (
    ("thinking", "Thinking"),
    ("tool_calls", "ToolCalls"),
    ("tool_name", "ToolName"),
    ("tool_call_id", "ToolCallID"),
)


def _call(index: int, call: Mapping[str, Any]) -> Record:
    function = call["function"]
    fields = {"Index": index, "Name": function["name"], "Arguments": function["arguments"]}
    plain = Ordered(name=fields["Name"], arguments=fields["Arguments"])
    inner = Record("the function of a call", fields, plain)
    return Record("a tool call", {"ID": call["id"], "Function": inner}, Ordered(function=inner))


def _tool(tool: Mapping[str, Any]) -> Record:
    function = tool["function"]
    parameters = function["parameters"]
    properties = {name: _property(schema) for name, schema in _map(parameters.get("properties")).items()}
    types = _types(parameters.get("type"))
    plain = Ordered(
        {name: value for name, value in parameters.items() if name in ("$defs", "items")}
        | ({"required": parameters["required"]} if parameters.get("required") else {})
        | {"properties": properties}
        | {name: value for name, value in parameters.items() if name not in _OF_PARAMETERS}
    )
    fields = {
        "Type": types,
        "Defs": parameters.get("$defs"),
        "Items": parameters.get("items"),
        "Required": _list(parameters.get("required")),
        "Properties": properties,
    }
    schema = Record("parameters", fields, Ordered({"type": types}, **plain))
    inner = Record(
        "a function",
        {"Name": function["name"], "Description": function["description"], "Parameters": schema},
        Ordered(name=function["name"], description=function["description"], parameters=schema),
    )
    return Record(
        "a tool", {"Type": "function", "Items": None, "Function": inner}, Ordered(type="function", function=inner)
    )


_OF_PARAMETERS = frozenset({"type", "$defs", "items", "required", "properties"})


def _property(schema: Any) -> Record:
    """A parameter; what its schema says beyond the fields is kept where it is written as JSON."""
    known = _map(schema)
    fields: dict[str, Any] = {
        "AnyOf": [_property(one) for one in _list(known.get("anyOf"))],
        "Type": _types(known.get("type")),
        "Items": known.get("items"),
        "Description": known.get("description") or "",
        "Enum": _list(known.get("enum")),
        "Properties": {name: _property(one) for name, one in _map(known.get("properties")).items()},
        "Required": _list(known.get("required")),
    }
    plain = Ordered((name, fields[key]) for name, key in _OF_PROPERTY if fields[key])
    plain.update((name, value) for name, value in known.items() if name not in plain)
    return Record("a parameter", fields, plain)


_OF_PROPERTY = (
    ("anyOf", "AnyOf"),
    ("type", "Type"),
    ("items", "Items"),
    ("description", "Description"),
    ("enum", "Enum"),
    ("properties", "Properties"),
    ("required", "Required"),
)


def _types(value: Any) -> Types:
    return Types([value] if isinstance(value, str) else [one for one in _list(value) if isinstance(one, str)])


def _map(value: Any) -> Mapping[str, Any]:
    """Schemas come from clients, and may hold anything anywhere."""
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
