"""Every field and header that two dozen real clients send is taken: what is still refused is listed, and the list
shrinks."""

import re
from pathlib import Path
from typing import Any

import pytest

FIELDS = Path(__file__).parents[4] / "shared" / "data" / "agents" / "fields.txt"
TYPED = {"messages": "role"}
"""What tells the items of a list apart, where it is not `type`."""
VALUES: dict[str, Any] = {
    "model": "echo",
    "prompt": "hi",
    "role": None,
    "type": None,
    "content": "hi",
    "text": "hi",
    "refusal": "no",
    "reasoning_content": "hm",
    "name": "f",
    "description": "does it",
    "parameters": {"type": "object"},
    "arguments": "{}",
    "id": "call_1",
    "tool_call_id": "call_1",
    "url": "data:image/png;base64,iVBORw0KGgo=",
    "schema": {"type": "object"},
    "strict": True,
    "max_tokens": 5,
    "max_completion_tokens": 5,
    "stream": True,
    "include_usage": True,
    "continuous_usage_stats": True,
    "temperature": 0.5,
    "top_p": 0.5,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "stop": ["\n"],
    "seed": 7,
    "n": 1,
    "user": "somebody",
    "logprobs": True,
    "top_logprobs": 2,
    "parallel_tool_calls": True,
    "ignore_eos": True,
    "verbosity": "low",
    "reasoning_effort": "low",
    "store": False,
    "tool_choice": "auto",
    "response_format.type": "json_schema",
    "response_format.json_schema.name": "answer",
    "tool_choice.type": "function",
    "cache_control.type": "ephemeral",
    "input": "hi",
    "encoding_format": "float",
    "insecure": False,
    "images": [],
    "options.mirostat": 0,
    "options.mirostat_eta": 0.1,
    "options.mirostat_tau": 5.0,
    "options.num_ctx": 512,
    "options.num_gpu": 0,
    "options.num_predict": 5,
    "options.num_thread": 1,
    "options.repeat_last_n": 64,
    "options.repeat_penalty": 1.1,
    "options.tfs_z": 1.0,
    "options.top_k": 40,
}
OTHERWISE: dict[str, dict[str, Any]] = {"/v1/completions": {"logprobs": 2}}
"""Fields that an endpoint has another type for; all its requests get them."""
REFUSED: dict[str, set[str]] = {}
"""Client -> fields that are still refused."""


def requests() -> list[tuple[str, str, list[str], list[str]]]:
    """(client, path, headers, fields) of every POST in the list."""
    found = []
    client = path = ""
    headers: list[str] = []
    for line in FIELDS.read_text().splitlines() if FIELDS.exists() else ():
        if entry := re.match(r"(\w+): (\w+) (\S+)$", line):
            client, path = entry[1], entry[3] if entry[2] == "POST" else ""
            headers = []
        elif path and (listed := re.match(r"\s+(headers|fields): (.*)", line)):
            names = listed[2].split(", ")
            if listed[1] == "headers":
                headers = names
            else:
                found.append((client, path, headers, names))
    return found


def built(fields: list[str]) -> dict[str, Any]:
    """A request that has all of `fields`."""
    body: dict[str, Any] = {}
    for field in sorted(fields):
        place: Any = body
        *outer, last = field.split(".")
        for part in outer:
            place = step(place, part)
        name, bracket, _ = last.partition("[")
        if bracket:
            step(place, last)
        elif not isinstance(place.get(name), dict):
            value = value_of(field)
            if value is not None:
                place[name] = value
    return body


def step(place: dict[str, Any], part: str) -> dict[str, Any]:
    """Into a member, or into the item of a list that is of the kind in brackets."""
    name, bracket, kind = part.partition("[")
    if not bracket:
        if not isinstance(place.get(name), dict):
            place[name] = {}
        return place[name]
    key, kind = TYPED.get(name, "type"), kind.rstrip("]")
    items = place[name] if isinstance(place.get(name), list) else []
    place[name] = items
    for item in items:
        if item[key] == kind:
            return item
    items.append({key: kind})
    return items[-1]


def value_of(field: str) -> Any:
    """The longest end of the field's path that has a value."""
    parts = re.sub(r"\[[^]]*\]", "", field).split(".")
    for start in range(len(parts)):
        end = ".".join(parts[start:])
        if end in VALUES:
            return VALUES[end]
    return {}


def param_of(error: dict[str, Any] | str) -> str:
    """The field that an error is about; an error in plain words quotes it first."""
    return re.findall("'([^']+)'", error)[0] if isinstance(error, str) else error["param"]


CASES = requests()


@pytest.mark.parametrize(
    ("client", "path", "headers", "fields"), CASES, ids=[f"{client} {path}" for client, path, *_ in CASES]
)
async def test_what_a_client_sends_is_taken(serve, client, path, headers, fields):
    async with serve() as server:
        body = built(fields) | OTHERWISE.get(path, {})
        response = await server.http.post(path, json=body, headers=dict.fromkeys(headers, "x"))
        if response.status_code in (404, 405) and not server.engine.requests:
            return  # an endpoint that is not there yet: none of its fields is refused
        refused = set()
        while response.status_code == 400 and (param := param_of(response.json()["error"])) not in refused:
            refused.add(param)
            body.pop(re.split(r"[.\[]", param)[0], None)
            response = await server.http.post(path, json=body)
        assert refused == REFUSED.get(client, set()), response.text
        assert response.status_code == 200, response.text


def test_the_list_was_read():
    if not FIELDS.exists():
        pytest.skip("the list of what clients send is not beside this checkout")
    paths = {path for _, path, *_ in CASES}
    assert {"/v1/chat/completions", "/v1/completions"} <= paths
    assert len({client for client, *_ in CASES}) >= 20
