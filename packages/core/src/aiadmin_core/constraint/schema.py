"""JSON schemas as llguidance can enforce them: what it lacks is said with what it has, where the meaning stays.

`enforceable` is pure. What comes out never allows a document that the schema refuses; formats that name nothing known
are annotations, as the specification has it. What cannot be said is refused with a JSON pointer to the keyword.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

from .languages import (
    ANY_TEXT,
    NOTHING,
    TOP,
    Language,
    TooLarge,
    both,
    chars,
    complement,
    either,
    is_empty,
    matches,
    repeated,
    text,
    to_regex,
)
from .logic import Schema, common_types, exclude, refuse_all, types_of
from .patterns import language_of, without_look_around
from .references import KEPT, References
from .unenforceable import Unenforceable
from .wellformed import check_values


def enforceable(schema: Schema | bool) -> Schema | bool:
    """`schema` in the keywords that llguidance knows, its references in one place.

    Raises `Unenforceable`.
    """
    try:
        return _Writer(schema).written()
    except (AttributeError, KeyError, TypeError) as error:  # a keyword with a value of another type
        raise Unenforceable("#", f"it is no JSON schema: {type(error).__name__}: {error}") from error
    except RecursionError as error:
        raise Unenforceable("#", "it is nested too deep") from error


FORMATS = frozenset(("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "uri"))
"""Those that llguidance knows."""
_UUIDS = frozenset(f"uuid{version}" for version in range(1, 9))
"""Pydantic's."""
_FORMAT_PATTERNS = {
    "json-pointer": r"^(?:/(?:[^~/]|~[01])*)*$",
    "relative-json-pointer": r"^(?:0|[1-9][0-9]*)(?:#|(?:/(?:[^~/]|~[01])*)*)$",
    "byte": r"^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
_LARGEST = 10**18
"""llguidance writes a range of integers digit by digit, from floats: beyond this it fails or rounds."""
_FORMAT_BOUNDS = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32)},
    "int64": (-_LARGEST, _LARGEST),
    "uint64": (0, _LARGEST),
}
_UNKNOWABLE = ("$dynamicRef", "$recursiveRef", "unevaluatedItems")
_MOST_ARRANGED = 6
"""Different items whose arrangements are written out: 1,957."""
_MOST_PATTERNS = 4
"""Patterns of names that overlap: each may or may not match, which makes two to the power of it."""


class _Writer:
    """One schema on its way. `root` is the whole as it came."""

    def __init__(self, root: Schema | bool) -> None:
        self._root = root
        self._references = References(root)
        self._names: dict[str, str] = {}
        self._written: dict[str, Any] = {}

    def written(self) -> Schema | bool:
        made: Schema | bool = self._schema(self._root, "#")
        if isinstance(made, bool) or not self._written:
            return made
        return {**made, "$defs": self._written}

    def _reference(self, reference: Any, where: str) -> Schema:
        if not isinstance(reference, str):
            raise Unenforceable(f"{where}/$ref", "it is no text")
        target = self._references.at(reference, where)
        self._references.check_progress(reference, where)
        name = self._names.get(reference)
        if name is None:
            name = self._names[reference] = f"r{len(self._names)}"
            self._written[name] = True  # while it is being written: it may refer to itself
            pointer = reference if reference.startswith("#") else f"{where}/$ref"
            self._written[name] = self._schema(target, pointer)
        return {"$ref": f"#/$defs/{name}"}

    def _schema(self, schema: Any, where: str) -> Any:
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, dict):
            raise Unenforceable(where, "a schema is an object or a boolean")
        check_values(schema, where)
        for keyword in _UNKNOWABLE:
            if keyword in schema:
                raise Unenforceable(f"{where}/{keyword}", "this keyword cannot be enforced")
        made = {keyword: schema[keyword] for keyword in KEPT if keyword in schema}
        more: list[Any] = []
        if "$ref" in schema:
            more.append(self._reference(schema["$ref"], where))
        if schema.get("unevaluatedProperties", True) is not True:
            self._unevaluated(schema, made, where)
        self._numbers(made)
        self._texts(made, more, where)
        self._objects(schema, made, more, where)
        self._arrays(schema, made, more, where)
        self._logic(schema, made, more, where)
        if made.get("enum") == []:
            return False
        if more:
            if not made and len(more) == 1:
                return more[0]
            made["allOf"] = [*made.get("allOf", ()), *more]
        return made

    def _unevaluated(self, schema: Schema, made: Schema, where: str) -> None:
        """Beside nothing that looks at properties too, it is `additionalProperties`."""
        others = ("allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "dependencies", "not")
        if "additionalProperties" in schema:
            return
        if any(keyword in schema for keyword in others):
            raise Unenforceable(f"{where}/unevaluatedProperties", "beside other schemas it cannot be enforced")
        made["additionalProperties"] = schema["unevaluatedProperties"]

    def _numbers(self, made: Schema) -> None:
        for exclusive, inclusive in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
            if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and inclusive in made:  # draft 4
                made[exclusive] = made.pop(inclusive)
        bounds = _FORMAT_BOUNDS.get(str(made.get("format")))
        if bounds and types_of(made) & {"integer", "number"}:
            made["minimum"] = max(made.get("minimum", bounds[0]), bounds[0])
            made["maximum"] = min(made.get("maximum", bounds[1]), bounds[1])
        for keyword, clamp in (("minimum", -_LARGEST), ("exclusiveMinimum", -_LARGEST)):
            if made.get(keyword, 0) < clamp:
                made[keyword] = clamp
        for keyword in ("maximum", "exclusiveMaximum"):
            if made.get(keyword, 0) > _LARGEST:
                made[keyword] = _LARGEST

    def _texts(self, made: Schema, more: list[Any], where: str) -> None:
        name = made.pop("format", None)
        if name in FORMATS or name in _UUIDS:
            made["format"] = "uuid" if name in _UUIDS else name
        elif name in _FORMAT_PATTERNS:
            more.append({"anyOf": [{"type": _NO_TEXT}, {"type": "string", "pattern": _FORMAT_PATTERNS[name]}]})
            if types_of(made) == {"string"}:
                more[-1] = {"type": "string", "pattern": _FORMAT_PATTERNS[name]}
        if "pattern" in made:
            first, *others = self._expressions(made.pop("pattern"), f"{where}/pattern")
            made["pattern"] = first
            more += [{"pattern": pattern} for pattern in others]

    def _expressions(self, pattern: Any, where: str) -> list[str]:
        if not isinstance(pattern, str):
            raise Unenforceable(where, "it is no text")
        try:
            return without_look_around(pattern) or [""]
        except ValueError as error:
            raise Unenforceable(where, f"the expression cannot be enforced: {error}") from error

    def _objects(self, schema: Schema, made: Schema, more: list[Any], where: str) -> None:
        properties = _mapping(schema, "properties", where)
        if properties or "properties" in made:
            made["properties"] = {
                name: self._schema(part, f"{where}/properties/{_quoted(name)}") for name, part in properties.items()
            }
        if "additionalProperties" in made:
            made["additionalProperties"] = self._schema(made["additionalProperties"], f"{where}/additionalProperties")
        if patterns := _mapping(schema, "patternProperties", where):
            made["patternProperties"] = self._patterns(patterns, f"{where}/patternProperties")
        else:
            made.pop("patternProperties", None)
        if schema.get("propertyNames", True) is not True:
            self._names_of_properties(schema["propertyNames"], made, f"{where}/propertyNames")
        self._counts(made, more)
        for keyword in ("dependencies", "dependentRequired", "dependentSchemas"):
            for name, needed in _mapping(schema, keyword, where).items():
                more.append(self._dependency(name, needed, f"{where}/{keyword}/{_quoted(name)}"))

    def _patterns(self, patterns: Mapping[str, Any], where: str) -> Schema:
        """Patterns that no name matches two of: llguidance takes no others."""
        parts = {name: self._schema(part, f"{where}/{_quoted(name)}") for name, part in patterns.items()}
        if len(parts) == 1:
            ((name, part),) = parts.items()
            return {_for_all(self._expressions(name, f"{where}/{_quoted(name)}")): part}
        try:
            languages = {name: language_of(name) for name in parts}
            pairs = itertools.combinations(parts, 2)
            if all(is_empty(both(languages[one], languages[other])) for one, other in pairs):
                return {
                    _for_all(self._expressions(name, f"{where}/{_quoted(name)}")): part for name, part in parts.items()
                }
            if len(parts) > _MOST_PATTERNS:
                raise TooLarge(f"more than {_MOST_PATTERNS} of them overlap")
            disjoint: Schema = {}
            for flags in itertools.product((True, False), repeat=len(parts)):
                members = [
                    language if flag else complement(language)
                    for flag, language in zip(flags, languages.values(), strict=True)
                ]
                expression = to_regex(both(*members)) if any(flags) else None
                if expression is not None:
                    matched = [part for flag, part in zip(flags, parts.values(), strict=True) if flag]
                    disjoint[expression] = matched[0] if len(matched) == 1 else {"allOf": matched}
            return disjoint
        except ValueError as error:
            raise Unenforceable(where, f"the patterns overlap, or cannot be told apart: {error}") from error

    def _names_of_properties(self, names: Any, made: Schema, where: str) -> None:
        try:
            language = self._language(names, where)
        except TooLarge as error:
            raise Unenforceable(where, f"these names cannot be enforced: {error}") from error
        if language == ANY_TEXT:
            return
        rules = {key: made.pop(key) for key in ("properties", "patternProperties") if key in made}
        additional = made.pop("additionalProperties", True)
        known = rules.get("properties", {})
        try:
            made["properties"] = {name: part if matches(language, name) else False for name, part in known.items()}
            patterns: Schema = {}
            left = language
            for pattern, part in rules.get("patternProperties", {}).items():
                matched = language_of(pattern)
                left = both(left, complement(matched))
                if (expression := to_regex(both(language, matched))) is not None:
                    patterns[expression] = part
            if additional is not False and (expression := to_regex(left)) is not None:
                patterns[expression] = additional
        except ValueError as error:
            raise Unenforceable(where, f"these names cannot be enforced: {error}") from error
        if patterns:
            made["patternProperties"] = patterns
        made["additionalProperties"] = False

    def _language(self, schema: Any, where: str) -> Language:
        """The texts that `schema` accepts."""
        schema = self._references.resolve(schema)
        if isinstance(schema, bool):
            return ANY_TEXT if schema else NOTHING
        languages: list[Language] = []
        for keyword, given in schema.items():
            place = f"{where}/{keyword}"
            match keyword:
                case "type":
                    languages.append(ANY_TEXT if "string" in types_of(schema) else NOTHING)
                case "enum" | "const":
                    values = given if keyword == "enum" else [given]
                    languages.append(either(*(text(value) for value in values if isinstance(value, str))))
                case "pattern":
                    try:
                        languages.append(language_of(given))
                    except ValueError as error:
                        raise Unenforceable(place, f"the expression cannot be enforced: {error}") from error
                case "minLength":
                    languages.append(repeated(chars([(0, TOP)]), given, None))
                case "maxLength":
                    languages.append(repeated(chars([(0, TOP)]), 0, given))
                case "allOf" | "anyOf":
                    parts = [self._language(part, f"{place}/{i}") for i, part in enumerate(given)]
                    languages.append(both(*parts) if keyword == "allOf" else either(*parts))
                case "not":
                    languages.append(complement(self._language(given, place)))
                case "format" if given in FORMATS:
                    raise Unenforceable(place, "formats of names cannot be enforced")
                case _:
                    pass
        return both(*languages)

    def _counts(self, made: Schema, more: list[Any]) -> None:
        """How many properties there are, where they are all named: llguidance counts required ones only."""
        names, required = made.get("properties", {}), made.get("required", [])
        if made.get("minProperties", 0) <= len(set(required)):
            made.pop("minProperties", None)
        closed = made.get("additionalProperties", True) is False and "patternProperties" not in made
        if closed and made.get("maxProperties", len(names)) >= len(names):
            made.pop("maxProperties", None)
        optional = [name for name in names if name not in required]
        if closed and optional and made.get("minProperties") == 1:
            made.pop("minProperties")
            more.append({"anyOf": [{"required": [name]} for name in optional]})

    def _dependency(self, name: str, needed: Any, where: str) -> Schema:
        if isinstance(needed, list):
            with_it: Any = {"required": [name, *needed]}
        else:
            with_it = {"allOf": [{"required": [name]}, self._schema(needed, where)]}
        return {"anyOf": [{"properties": {name: False}}, with_it]}

    def _arrays(self, schema: Schema, made: Schema, more: list[Any], where: str) -> None:
        for keyword in ("items", "prefixItems", "additionalItems"):
            if isinstance(made.get(keyword), list):
                made[keyword] = [self._schema(p, f"{where}/{keyword}/{i}") for i, p in enumerate(made[keyword])]
            elif keyword in made:
                made[keyword] = self._schema(made[keyword], f"{where}/{keyword}")
        if "contains" in schema and schema.get("minContains", 1) > 0:
            raise Unenforceable(f"{where}/contains", "this keyword cannot be enforced")
        if "maxContains" in schema and "contains" in schema:
            raise Unenforceable(f"{where}/maxContains", "this keyword cannot be enforced")
        if schema.get("uniqueItems") is True and made.get("maxItems", 2) > 1:
            self._unique(schema, made, more, f"{where}/uniqueItems")

    def _unique(self, schema: Schema, made: Schema, more: list[Any], where: str) -> None:
        prefix = schema.get("prefixItems", schema["items"] if isinstance(schema.get("items"), list) else None)
        if prefix is not None and False in (schema.get("items"), schema.get("additionalItems")):
            pairs = itertools.combinations(prefix, 2)
            if all(exclude(one, other, self._references.resolve) for one, other in pairs):
                return
        values = self._all_values(schema.get("items", True))
        if prefix is not None or values is None or len(values) > _MOST_ARRANGED:
            raise Unenforceable(where, f"only items with at most {_MOST_ARRANGED} values can be kept different")
        least, most = made.pop("minItems", 0), min(made.pop("maxItems", len(values)), len(values))
        made.pop("items", None)
        arranged = [list(one) for n in range(least, most + 1) for one in itertools.permutations(values, n)]
        others = types_of(made) - {"array"}
        if not others:
            made.pop("type", None)
            more.append({"enum": arranged} if arranged else False)
        else:
            more.append({"anyOf": [{"type": sorted(others)}, *([{"enum": arranged}] if arranged else [])]})

    def _all_values(self, schema: Any) -> list[Any] | None:
        """Every value that is valid, where they are few and named."""
        schema = self._references.resolve(schema)
        if not isinstance(schema, dict):
            return None
        if "const" in schema:
            return [schema["const"]]
        if isinstance(schema.get("enum"), list) and set(schema) <= {"enum", "type", "title", "description"}:
            return [value for n, value in enumerate(schema["enum"]) if value not in schema["enum"][:n]]
        if "type" in schema and types_of(schema) <= {"null", "boolean"}:
            return [None] * ("null" in types_of(schema)) + [True, False] * ("boolean" in types_of(schema))
        return None

    def _logic(self, schema: Schema, made: Schema, more: list[Any], where: str) -> None:
        for keyword in ("allOf", "anyOf", "oneOf"):
            branches = made.get(keyword)
            if branches is None:
                continue
            if not isinstance(branches, list) or not branches:
                raise Unenforceable(f"{where}/{keyword}", "it is no list of schemas")
            made[keyword] = [self._schema(part, f"{where}/{keyword}/{i}") for i, part in enumerate(branches)]
        if "oneOf" in made:
            written = made.pop("oneOf")
            more.append({"anyOf": self._exactly_one(schema, written, f"{where}/oneOf")})
        if "not" in schema:
            more.append(self._others(schema["not"], types_of(schema), f"{where}/not"))
        if "if" in schema and ("then" in schema or "else" in schema):
            condition = self._schema(schema["if"], f"{where}/if")
            held = self._schema(schema.get("then", True), f"{where}/then")
            failed = self._schema(schema.get("else", True), f"{where}/else")
            otherwise = self._others(schema["if"], types_of(schema), f"{where}/if")
            more.append({"anyOf": [{"allOf": [condition, held]}, {"allOf": [otherwise, failed]}]})

    def _exactly_one(self, schema: Schema, written: list[Any], where: str) -> list[Any]:
        """Branches of which no two can hold together: those that might are told apart by what the others refuse."""
        branches = schema["oneOf"]
        beside = {key: value for key, value in schema.items() if key in ("type", "properties", "required")}
        apart = list(written)
        for one, other in itertools.permutations(range(len(branches)), 2):
            sides = [{"allOf": [beside, branches[i]]} if beside else branches[i] for i in (one, other)]
            if not exclude(sides[0], sides[1], self._references.resolve):
                within = common_types(types_of(schema), types_of(self._references.resolve(branches[one])))
                refused = self._others(branches[other], within, f"{where}/{other}", where)
                apart[one] = {"allOf": [apart[one], refused]}
        return apart

    def _others(self, schema: Any, within: frozenset[str], where: str, blamed: str | None = None) -> Any:
        """What `schema` refuses, of documents whose types are `within`."""
        try:
            return self._schema(refuse_all(schema, self._references.resolve, within), where)
        except LookupError as error:
            pointer = blamed or where
            raise Unenforceable(pointer, f"what {error.args[0]!r} refuses cannot be said") from error


_NO_TEXT = ["null", "boolean", "object", "array", "number"]


def _for_all(expressions: list[str]) -> str:
    """One expression for a name that has to match all of them."""
    if len(expressions) == 1:
        return expressions[0]
    written = to_regex(both(*map(language_of, expressions)))
    return written if written is not None else r"[^\s\S]"


def located(schema: Any, test: Any, where: str = "#") -> Iterator[str]:
    """Pointers to the `pattern`s and names in `patternProperties` for which `test(expression)` holds."""
    if isinstance(schema, dict):
        for keyword, part in schema.items():
            place = f"{where}/{_quoted(keyword)}"
            if keyword == "pattern" and isinstance(part, str) and test(part):
                yield place
            yield from located(part, test, place)
    elif isinstance(schema, list):
        for index, part in enumerate(schema):
            yield from located(part, test, f"{where}/{index}")


def _mapping(schema: Schema, keyword: str, where: str) -> Mapping[str, Any]:
    value = schema.get(keyword, {})
    if not isinstance(value, dict):
        raise Unenforceable(f"{where}/{keyword}", "it is no object")
    return value


def _quoted(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")
