"""Lines of a chat that begin with "/": what each does to the conversation, and what it says. No terminal here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aiadmin_core.errors import BadRequest

from ._attached import response_format
from ._conversation import SETTINGS, Conversation, Leave, read_setting, unfenced
from ._sessions import Sessions

OTHER_NAMES = {"num_predict": "max_tokens"}
"""What Ollama's users call a setting."""
HELP = f'''\
/set NAME VALUE   set one of these, or, without VALUE, unset it:
{" " * 18}{", ".join(SETTINGS)}
/set              show what is set
/set format json  answer as JSON; or a schema, or a file with one; /set noformat
/set think        let the model think (also low, medium, high); /set nothink
/set verbose      say how fast each answer was; /set quiet
/set nowordwrap   leave lines to the terminal; /set wordwrap
/set nohistory    keep nothing of what is typed from here on; /set history
/show             what the model is; /show system, template, parameters,
                  license, modelfile
/save NAME        keep the conversation; /save! NAME also over another one
/load NAME        go on with a kept one, or with the model NAME
/clear            forget the conversation
/help, /?         show this
/bye              leave (also Ctrl-D)
""" ... """       a message of several lines; Alt-Enter starts a new line anywhere
./cat.png         an image, named by its path, for models that see
Ctrl-C            stop the answer'''
SHOWN = ("info", "license", "modelfile", "parameters", "system", "template")


@dataclass(frozen=True)
class Around:
    """What a chat's commands reach beside the conversation."""

    sessions: Sessions
    describe: Callable[[str], dict[str, Any]]
    """What the server says of a model: the body of `/api/show`. Raises `AiAdminError` for one that is not there."""


def obey(conversation: Conversation, line: str, around: Around) -> str:
    """Carry out a line that starts with "/" and say what was done. Raises `Leave`, and `AiAdminError` for what cannot
    be done."""
    command, _, rest = line.partition(" ")
    rest = rest.strip()
    match command:
        case "/bye" | "/exit" | "/quit":
            raise Leave
        case "/help" | "/?":
            return HELP
        case "/clear":
            conversation.messages.clear()
            return "Forgot the conversation."
        case "/set":
            return change(conversation, *rest.partition(" ")[::2])
        case "/show":
            return _show(conversation, rest or "info", around)
        case "/save" | "/save!":
            if not rest:
                return "Give it a name: /save NAME"
            around.sessions.save(rest, conversation, replace=command == "/save!")
            return f"Saved as {rest}."
        case "/load":
            return _load(conversation, rest, around)
    return f"There is no command {command}; /help lists them."


def is_command(line: str) -> bool:
    """Whether a line is none of the conversation: a path at its beginning makes no command of it."""
    return line.startswith("/") and "/" not in line.split()[0][1:]


def change(conversation: Conversation, name: str, text: str) -> str:
    """`/set NAME TEXT`. What cannot be is said, and changes nothing."""
    text = unfenced(text.strip())
    if name == "parameter":
        name, _, text = (part.strip() for part in text.partition(" "))
    name = OTHER_NAMES.get(name, name)
    if not name:
        return _settings(conversation)
    if name in _SWITCHES and not text:
        attribute, is_on, said = _SWITCHES[name]
        setattr(conversation, attribute, is_on)
        return said
    try:
        if name in _FIELDS:
            return _FIELDS[name](conversation, text)
        return _sampling(conversation, name, text)
    except BadRequest as error:
        return error.message


def _sampling(conversation: Conversation, name: str, text: str) -> str:
    if name not in SETTINGS:
        return f"Cannot set {name}; there are {', '.join(SETTINGS)}."
    value = read_setting(name, text) if text else None
    if name == "system":
        conversation.system = value
    elif value is None:
        conversation.options.pop(name, None)
    else:
        conversation.options[name] = value
    return f"{name} is unset." if value is None else f"{name} = {value}"


def _think(conversation: Conversation, text: str) -> str:
    if text not in ("", "low", "medium", "high"):
        return "think is low, medium or high, or alone."
    conversation.options["think"] = text or True
    return f"think = {text or 'on'}"


def _nothink(conversation: Conversation, _: str) -> str:
    conversation.options["think"] = False
    return "think = off"


def _format(conversation: Conversation, text: str) -> str:
    if not text:
        return _noformat(conversation, text)
    conversation.options["response_format"] = response_format(text)
    return f"format = {text}"


def _noformat(conversation: Conversation, _: str) -> str:
    conversation.options.pop("response_format", None)
    return "format is unset."


_FIELDS: dict[str, Callable[[Conversation, str], str]] = {
    "think": _think,
    "nothink": _nothink,
    "format": _format,
    "noformat": _noformat,
}
"""Settings that are fields of the request and not of sampling."""
_SWITCHES = {
    "verbose": ("verbose", True, "Each answer is followed by what it took."),
    "quiet": ("verbose", False, "Answers come alone."),
    "wordwrap": ("word_wrap", True, "Lines end between words."),
    "nowordwrap": ("word_wrap", False, "Lines end where the terminal does."),
    "history": ("keeps_history", True, "What is typed is kept for later chats."),
    "nohistory": ("keeps_history", False, "What is typed from here on is kept for this chat only."),
}


def _settings(conversation: Conversation) -> str:
    shown = {"system": conversation.system, **conversation.options}
    lines = [f"{key} = {value}" for key, value in shown.items() if value is not None]
    return "\n".join(lines) or "Nothing is set."


def _show(conversation: Conversation, what: str, around: Around) -> str:
    if what not in SHOWN:
        return f"Cannot show {what}; there are {', '.join(SHOWN)}."
    if what == "system" and conversation.system:
        return conversation.system
    described = around.describe(conversation.model)
    if what != "info":
        own = _settings(conversation) if what == "parameters" and conversation.options else ""
        return "\n".join(filter(None, [own, str(described.get(what) or "").rstrip()])) or f"It has no {what}."
    details = described.get("details") or {}
    info = described.get("model_info") or {}
    facts = {
        "model": conversation.model,
        "family": details.get("family"),
        "parameters": details.get("parameter_size"),
        "quantization": details.get("quantization_level"),
        "format": details.get("format"),
        "context": next((n for key, n in info.items() if key.endswith(".context_length")), 0),
        "capabilities": ", ".join(described.get("capabilities") or ()),
    }
    return "\n".join(f"{label:<14}{value}" for label, value in facts.items() if value)


def _load(conversation: Conversation, name: str, around: Around) -> str:
    if not name:
        kept = around.sessions.names()
        return f"Kept: {', '.join(kept)}." if kept else "Nothing is kept yet: /save NAME keeps a conversation."
    session = around.sessions.load(name)
    if session is not None:
        conversation.model, conversation.system = session.model, session.system
        conversation.options, conversation.messages = dict(session.options), list(session.messages)
        return f"Going on with {name}: {len(session.messages)} messages with {session.model}."
    around.describe(name)  # raises for what is no model either
    conversation.model = name
    return f"Talking to {name} from here on."
