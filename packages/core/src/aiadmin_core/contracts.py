"""What plugins give, checked where it enters: `complaint` says what is wrong with one value of a hook.

Called by `plugins` for every value it collects, so that whoever uses one may trust it. Whether a method does what its
protocol says is seen when it is called; here it is only there.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, get_origin, get_type_hints

import msgspec

from .backend import Backend
from .dialects.dialect import Dialect
from .observe import DoctorCheck, Finding
from .sources import CatalogueEntry, OfferingSource, Source

TARGET = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
"""`package.module:attribute`."""
_MAY_NOT_BE_EMPTY = frozenset({"name", "scheme"})


def complaint(hook: str, value: Any) -> str:
    """What is wrong with `value`, one of those that a plugin's `hook` gave, as the end of a sentence; "" if nothing."""
    check = _CHECKS.get(hook)
    return check(value) if check else ""


def shortcoming(value: Any, protocol: type) -> str:
    """What `value` lacks of `protocol`, which it need not inherit, as the end of a sentence; "" if nothing."""
    if isinstance(value, type):
        return f"the class {value.__qualname__}, not an instance of it"
    for name, kind in _members(protocol):
        if not hasattr(value, name):
            return f"{_named(value)}, which is no {protocol.__name__}: it has no '{name}'"
        member = getattr(value, name)
        fault = "is empty" if name in _MAY_NOT_BE_EMPTY and member == "" else _member_fault(member, kind)
        if fault:
            return f"{_named(value)}, which is no {protocol.__name__}: its '{name}' {fault}"
    return ""


def _protocol(protocol: type) -> Callable[[Any], str]:
    return partial(shortcoming, protocol=protocol)


def _struct(struct: type[msgspec.Struct]) -> Callable[[Any], str]:
    """Instances of `struct` whose fields are of the types it says, which msgspec checks only where it decodes."""

    def check(value: Any) -> str:
        if not isinstance(value, struct):
            return f"{_named(value)}, which is no {struct.__name__}"
        for name, kind in get_type_hints(struct, include_extras=True).items():
            if fault := _member_fault(getattr(value, name), kind):
                return f"a {struct.__name__} whose '{name}' {fault}"
        return ""

    return check


def _source(value: Any) -> str:
    return shortcoming(value, OfferingSource if hasattr(value, "offer") else Source)


def _middleware(value: Any) -> str:
    return "" if callable(value) else f"{_named(value)}, which cannot be called with an ASGI app"


def _reference(kind: str) -> Callable[[Any], str]:
    """Pairs of a word and where what it stands for can be imported from."""

    def check(value: tuple[Any, Any]) -> str:
        word, target = value
        if not isinstance(word, str) or not word or word.startswith("-") or len(word.split()) != 1:
            return f"{word!r}, which is no {kind}"
        if not isinstance(target, str) or not TARGET.fullmatch(target):
            return f"{target!r} for the {kind} '{word}', which is not written \"package.module:attribute\""
        return ""

    return check


_CHECKS: dict[str, Callable[[Any], str]] = {
    "aiadmin_backends": _protocol(Backend),
    "aiadmin_sources": _source,
    "aiadmin_catalogue": _struct(CatalogueEntry),
    "aiadmin_dialects": _protocol(Dialect),
    "aiadmin_apis": _reference("API"),
    "aiadmin_http_middleware": _middleware,
    "aiadmin_cli_commands": _reference("verb"),
    "aiadmin_doctor_checks": _struct(DoctorCheck),
    "finding": _struct(Finding),
}
"""By hook; `finding` is what a doctor check gives. Routes are Litestar's to judge, when they are added."""


def _members(protocol: type) -> Iterator[tuple[str, Any]]:
    """Name and type of each attribute of a protocol; the type of a method is `Callable`."""
    yield from get_type_hints(protocol).items()
    for name, member in vars(protocol).items():
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            yield name, get_type_hints(member.fget)["return"]
        elif callable(member):
            yield name, Callable


def _member_fault(member: Any, kind: Any) -> str:
    if Callable in (kind, get_origin(kind)):
        return "" if callable(member) else f"is {_named(member)} and cannot be called"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "" if isinstance(member, kind) else f"is {_named(member)}, not a {kind.__name__}"
    try:
        msgspec.convert(member, kind, strict=True)
    except msgspec.ValidationError as error:
        return f"is {_named(member)}: {error}"
    except TypeError:  # of a protocol's type, say: whoever uses it finds out
        return ""
    return ""


def _named(value: Any) -> str:
    """A value of any kind, short and on one line."""
    if value is None or isinstance(value, str | int | float):
        text = repr(value)
        return text if len(text) <= 40 else text[:37] + "..."
    kind = type(value).__qualname__
    return f"{'an' if kind[0] in 'AEIOUaeiou' else 'a'} {kind}"
