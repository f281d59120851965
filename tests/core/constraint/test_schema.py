"""JSON schemas in the keywords that can be enforced: what comes out means what went in."""

import contextlib
import json
import random

import jsonschema
import pytest
from llguidance import LLMatcher

from aiadmin_core.constraint.lark import styled
from aiadmin_core.constraint.schema import enforceable
from aiadmin_core.constraint.unenforceable import Unenforceable
from aiadmin_core.testing.fake import ByteTokenizer

VOCABULARY = ByteTokenizer().constraint_vocabulary()


def grammar(schema):
    return json.dumps({"grammars": [{"json_schema": styled(schema)}]})


def takes(schema, document):
    """Whether the grammar of `schema` takes `document` from first to last byte."""
    state = LLMatcher(VOCABULARY, grammar(schema), log_level=0)
    assert not state.is_error(), state.get_error()
    encoded = list(json.dumps(document, ensure_ascii=False).encode())
    return state.try_consume_tokens(encoded) == len(encoded) and state.is_accepting()


def drawn(schema, seed, limit=1500):
    """A document that the masks of `schema`'s grammar allow, whatever comes up; None where it grew too long."""
    draw = random.Random(seed)
    state = LLMatcher(VOCABULARY, grammar(schema), log_level=0)
    written = b""
    while len(written) < limit:
        mask = state.compute_bitmask()
        assert not state.is_error(), state.get_error()
        if state.is_stopped() or (state.is_accepting() and draw.random() < 0.5):
            return json.loads(written)
        allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
        plain = [byte for byte in allowed if 32 <= byte < 127] or allowed
        closing = [byte for byte in b'"}],:' if byte in allowed]
        hurry = draw.random() < 0.3 + len(written) / limit
        token = draw.choice(closing if closing and hurry else plain if draw.random() < 0.97 else allowed)
        state.consume_token(token)
        written += bytes([token])
    return None


def validator(schema):
    return jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)(schema)


def string(**keywords):
    return {"type": "string", **keywords}


def closed(**properties):
    return {"type": "object", "properties": properties, "additionalProperties": False}


NUMBER, TEXT, ONE = {"type": "number"}, {"type": "string"}, {"type": "integer"}

REWRITTEN = {
    "oneOf of types": ({"oneOf": [TEXT, ONE, {"type": "null"}]}, ["a", 1, None], [1.5, []]),
    "oneOf by a constant property": (
        {
            "oneOf": [
                {**closed(kind={"const": "a"}, x=ONE), "required": ["kind"]},
                {**closed(kind={"const": "b"}, y=ONE), "required": ["kind"]},
            ]
        },
        [{"kind": "a", "x": 1}, {"kind": "b"}],
        [{"kind": "a", "y": 1}, {}],
    ),
    "oneOf of required properties": (
        {**closed(a=ONE, b=ONE), "oneOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": 1}, {"b": 1}],
        [{}, {"a": 1, "b": 1}],
    ),
    "oneOf of ranges": ({"oneOf": [{**ONE, "maximum": 3}, {**ONE, "minimum": 7}]}, [3, 7], [5]),
    "oneOf of ranges that overlap": ({"oneOf": [{**ONE, "maximum": 5}, {**ONE, "minimum": 3}]}, [2, 6], [3, 4, 5]),
    "oneOf of lengths": ({"oneOf": [string(maxLength=2), string(minLength=4)]}, ["a", "abcd"], ["abc"]),
    "oneOf of enumerations that overlap": ({"oneOf": [{"enum": ["a", "b"]}, {"enum": ["b", "c"]}]}, ["a", "c"], ["b"]),
    "not a type": ({"not": TEXT}, [1, None, []], ["a"]),
    "not one of some texts": (string(**{"not": {"enum": ["a", "ab"]}}), ["", "abc", "b"], ["a", "ab"]),
    "not a constant of any type": ({"not": {"const": None}}, ["a", 0, False], [None]),
    "not a pattern": (string(**{"not": {"pattern": "^x"}}), ["", "ax"], ["x", "xa"]),
    "not required": ({**closed(a=ONE, b=ONE), "not": {"required": ["a", "b"]}}, [{"a": 1}, {}], [{"a": 1, "b": 1}]),
    "not not": ({"not": {"not": ONE}}, [1], ["a"]),
    "dependencies": (
        {**closed(a=ONE, b=ONE), "dependencies": {"a": ["b"]}},
        [{}, {"b": 1}, {"a": 1, "b": 1}],
        [{"a": 1}],
    ),
    "dependentRequired": ({**closed(a=ONE, b=ONE), "dependentRequired": {"a": ["b"]}}, [{"b": 1}], [{"a": 1}]),
    "dependentSchemas": (
        {**closed(a=ONE, b=ONE), "dependentSchemas": {"a": {"properties": {"b": {"minimum": 5}}}}},
        [{"b": 1}, {"a": 1, "b": 5}, {"a": 1}],
        [{"a": 1, "b": 1}],
    ),
    "if and then": (
        {
            **closed(kind={"enum": ["a", "b"]}, x=ONE),
            "required": ["kind"],
            "if": {"properties": {"kind": {"const": "a"}}},
            "then": {"required": ["x"]},
        },
        [{"kind": "a", "x": 1}, {"kind": "b"}],
        [{"kind": "a"}],
    ),
    "if, then and else": (
        {"type": ["integer", "string"], "if": ONE, "then": {"minimum": 5}, "else": {"minLength": 2}},
        [5, "ab"],
        [4, "a"],
    ),
    "propertyNames true of every object": (
        {"type": "object", "propertyNames": TEXT, "additionalProperties": ONE},
        [{}, {"any name": 1}],
        [{"a": "x"}],
    ),
    "propertyNames with a pattern": (
        {"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}, "additionalProperties": ONE},
        [{}, {"ab": 1}],
        [{"A": 1}, {"ab": "x"}],
    ),
    "propertyNames of an enumeration": (
        {"type": "object", "propertyNames": {"enum": ["a", "b"]}, "additionalProperties": ONE},
        [{"a": 1}, {"a": 1, "b": 2}],
        [{"c": 1}],
    ),
    "propertyNames beside properties": (
        {"type": "object", "properties": {"ab": TEXT, "X": TEXT}, "propertyNames": {"pattern": "^[a-z]+$"}},
        [{"ab": "x"}, {"c": 1}],
        [{"X": "x"}, {"ab": 1}],
    ),
    "propertyNames of some length": (
        {"type": "object", "propertyNames": {"minLength": 2, "maxLength": 3}, "additionalProperties": ONE},
        [{"ab": 1}],
        [{"a": 1}, {"abcd": 1}],
    ),
    "propertyNames beside patternProperties": (
        {
            "type": "object",
            "propertyNames": {"not": {"enum": ["x1"]}},
            "patternProperties": {"^x": ONE},
            "additionalProperties": TEXT,
        },
        [{"x2": 1}, {"a": "b"}],
        [{"x1": 1}, {"x2": "a"}],
    ),
    "patternProperties beside properties": (
        {"type": "object", "properties": {"score": ONE}, "patternProperties": {"^score$": {"minimum": 5}}},
        [{"score": 5}, {"other": "x"}],
        [{"score": 4}, {"score": "x"}],
    ),
    "patternProperties that contradict properties": (
        {"type": "object", "properties": {"score": ONE}, "patternProperties": {"^s": TEXT}},
        [{}, {"sx": "a"}, {"other": 1}],
        [{"score": 4}, {"score": "x"}],
    ),
    "patternProperties that overlap": (
        {"type": "object", "patternProperties": {"^s": TEXT, "e$": {"minLength": 3}}, "additionalProperties": False},
        [{"sa": ""}, {"ae": "abc"}, {"se": "abc"}, {"ae": 1}],
        [{"se": "a"}, {"se": 1}, {"ae": "a"}, {"x": 1}],
    ),
    "uniqueItems of an enumeration": (
        {"type": "array", "items": {"enum": ["a", "b", 3]}, "uniqueItems": True, "minItems": 1},
        [["a"], ["b", "a"], [3, "a", "b"]],
        [[], ["a", "a"]],
    ),
    "uniqueItems of one item": ({"type": "array", "maxItems": 1, "uniqueItems": True}, [[], [1]], [[1, 2]]),
    "uniqueItems that need not be": ({"type": "array", "items": ONE, "uniqueItems": False}, [[1, 1]], [["a"]]),
    "formats nobody knows": (string(format="password"), ["a"], [1]),
    "formats of integers": ({**ONE, "format": "int32"}, [2147483647, -2147483648], [2147483648]),
    "formats of texts that are integers": ({**ONE, "format": "uint8"}, [0, 255], [256, -1]),
    "formats that bind": (string(format="ipv4"), ["1.2.3.4"], ["x"]),
    "formats written as patterns": (string(format="json-pointer"), ["/a/b~0", ""], ["a"]),
    "integers of a generator's 64 bits": ({**ONE, "minimum": -(2**63), "maximum": 2**63 - 1}, [10**17], ["a"]),
    "draft 4's exclusive bounds": ({**ONE, "minimum": 3, "exclusiveMinimum": True}, [4], [3]),
    "references with keywords beside them": (
        {"$ref": "#/$defs/a", "required": ["x"], "$defs": {"a": closed(x=ONE)}},
        [{"x": 1}],
        [{}, {"x": "a"}],
    ),
    "references to anywhere": ({**closed(a=ONE, b={"$ref": "#/properties/a"})}, [{"b": 1}], [{"b": "x"}]),
    "references by name": (
        {"$defs": {"x": {"$anchor": "num", "type": "integer"}}, "items": {"$ref": "#num"}, "type": "array"},
        [[1]],
        [["a"]],
    ),
    "a schema of itself": (
        {**closed(next={"anyOf": [{"$ref": "#"}, {"type": "null"}]})},
        [{"next": {"next": None}}],
        [{"next": 1}],
    ),
    "unevaluatedProperties": (
        {"type": "object", "properties": {"a": ONE}, "unevaluatedProperties": False},
        [{"a": 1}],
        [{"b": 1}],
    ),
    "at least one of some properties": ({**closed(a=ONE, b=ONE), "minProperties": 1}, [{"b": 1}], [{}]),
    "patterns found anywhere": (string(pattern="abc"), ["abc", "xabcx"], ["ab"]),
    "patterns at the end": (string(pattern=".*abc$"), ["abc", "xabc"], ["abcx"]),
    "annotations": ({**ONE, "title": 3, "x-order": [1], "nullable": False, "example": {}}, [1], ["a"]),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_what_is_rewritten_means_the_same(name):
    schema, valid, invalid = REWRITTEN[name]
    for document in valid:
        assert validator(schema).is_valid(document), "the example is wrong"
        assert takes(schema, document), document
    for document in invalid:
        assert not takes(schema, document), document


@pytest.mark.parametrize("name", [*REWRITTEN])
def test_documents_drawn_from_a_rewritten_schema_are_valid(name):
    schema, _, _ = REWRITTEN[name]
    for seed in range(10):
        document = drawn(schema, seed)
        if document is not None:
            validator(schema).validate(document)


ZOD = {  # as zod 4 writes them by toJSONSchema, where it has a pattern
    "email": r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$",
    "html5 email": r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?(?:\.[a-zA-Z0-9]"
    r"(?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$",
    "uuid": r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}|"
    r"00000000-0000-0000-0000-000000000000)$",
    "guid": r"^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})$",
    "cuid": r"^[cC][^\s-]{8,}$",
    "cuid2": r"^[0-9a-z]+$",
    "ulid": r"^[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{26}$",
    "xid": r"^[0-9a-vA-V]{20}$",
    "ksuid": r"^[A-Za-z0-9]{27}$",
    "nanoid": r"^[a-zA-Z0-9_-]{21}$",
    "duration": r"^P(?:(\d+W)|(?!.*W)(?=\d|T\d)(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+([.,]\d+)?S)?)?)$",
    "hostname": r"^(?=.{1,253}\.?$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[-0-9a-zA-Z]{0,61}[0-9a-zA-Z])?)*\.?$",
    "domain": r"^([a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?\.)+[a-zA-Z]{2,}$",
    "ipv4": r"^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])\.){3}"
    r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9][0-9]|[0-9])$",
    "base64": r"^$|^(?:[0-9a-zA-Z+/]{4})*(?:(?:[0-9a-zA-Z+/]{2}==)|(?:[0-9a-zA-Z+/]{3}=))?$",
    "base64url": r"^[A-Za-z0-9_-]*$",
    "e164": r"^\+[1-9]\d{6,14}$",
    "date": r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|"
    r"\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))$",
    "time": r"^(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?$",
    "lowercase": r"^[^A-Z]*$",
    "uppercase": r"^[^a-z]*$",
    "starts with": r"^abc.*",
    "hex": r"^[0-9a-fA-F]*$",
    "mac": r"^(?:[0-9A-F]{2}:){5}[0-9A-F]{2}$|^(?:[0-9a-f]{2}:){5}[0-9a-f]{2}$",
    "jwt": r"^[A-Za-z0-9-_]+\.[A-Za-z0-9-_]+\.[A-Za-z0-9-_]*$",
    "pydantic's Decimal": r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$",
    "password": r"^(?=.*[A-Z])(?=.*\d).{8,}$",
}


@pytest.mark.parametrize("name", ZOD)
def test_patterns_of_the_usual_generators_are_enforced(name):
    schema = string(pattern=ZOD[name])
    found = [document for seed in range(12) if (document := drawn(schema, seed)) is not None]

    assert found
    for document in found:
        validator(schema).validate(document)


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"type": "array", "uniqueItems": True, "items": TEXT}, "#/uniqueItems"),
        (closed(**{"a/b~c": {"not": {"multipleOf": 3}}}), "#/properties/a~1b~0c/not"),
        ({"items": {"contains": ONE}}, "#/items/contains"),
        ({"$ref": "http://example.org/x"}, "#/$ref"),
        ({"$ref": "#/$defs/missing"}, "#/$ref"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"$ref": "#/$defs/n"}}}, "#/$ref"),
        (
            {"$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
            "#/$ref",
        ),
        (closed(a=string(pattern="^((?!abc).)*$")), "#/properties/a/pattern"),
        (string(pattern="(?<=a)b"), "#/pattern"),
        ({"oneOf": [{"items": ONE}, {"items": TEXT}]}, "#/oneOf"),
        ({"$dynamicRef": "#x"}, "#/$dynamicRef"),
        ({"allOf": [{"anyOf": 3}]}, "#/allOf/0/anyOf"),
        ({"properties": []}, "#/properties"),
        (closed(a=7), "#/properties/a"),
    ],
)
def test_what_cannot_be_enforced_is_named_by_its_pointer(schema, pointer):
    with pytest.raises(Unenforceable) as caught:
        enforceable(schema)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize(
    "schema",
    [
        {"minimum": "a"},
        {"required": 3},
        {"type": {}},
        {"enum": 3},
        {"minItems": None, "uniqueItems": True},
        {"propertyNames": {"minLength": "x"}, "type": "object"},
        {"not": {"enum": 3}},
        {"pattern": 3},
    ],
)
def test_a_schema_that_is_none_is_refused_or_left_to_the_compiler(schema):
    try:
        written = enforceable(schema)
    except Unenforceable:
        return
    assert LLMatcher(VOCABULARY, json.dumps({"grammars": [{"json_schema": written}]}), log_level=0).is_error()


LONG_WORK = [
    string(pattern=r"^(?!(.*a){20}).*$"),
    string(pattern=r"^(?!.*[ab]*a[ab]{15}).*$"),
    string(pattern=r"^(?!.{0,5000}x).*$"),
    string(pattern=r"^(?!(((a{0,50}){0,50}){0,50})b).*$"),
    string(pattern=r"(?!(?:[a-z]{3,40}[0-9]{2,30}){2,9}z)q"),
    {"type": "object", "propertyNames": {"minLength": 1, "maxLength": 3000}},
    {"type": "object", "patternProperties": {"a.{0,200}b": TEXT, "c.{0,200}d": ONE, "e.{0,300}f": {}}},
    string(**{"not": {"enum": [f"value {n}" for n in range(3000)]}}),
]


@pytest.mark.parametrize("number", range(len(LONG_WORK)))
@pytest.mark.timeout(20)
def test_a_schema_that_would_take_long_to_write_is_refused_in_time(number):
    with contextlib.suppress(Unenforceable):
        enforceable(LONG_WORK[number])


def bench(shared_data):
    for path in sorted((shared_data / "jsonschemabench").glob("*.json")):
        yield path.stem, json.loads(path.read_text(encoding="utf-8"))


def test_nineteen_of_twenty_real_schemas_compile(shared_data):
    """270 schemas from JSONSchemaBench."""
    compiled, refused = 0, {}
    for name, schema in bench(shared_data):
        try:
            state = LLMatcher(VOCABULARY, grammar(schema), log_level=0)
        except Unenforceable as error:
            refused[name] = str(error)
            continue
        compiled += not state.is_error()

    assert compiled >= 257, refused


@pytest.mark.parametrize("part", range(4))
def test_documents_drawn_from_real_schemas_are_valid(shared_data, part):
    n_drawn = 0
    for index, (name, schema) in enumerate(bench(shared_data)):
        if index % 12 != part:  # a part of them: the rest is alike
            continue
        try:
            documents = [drawn(schema, seed) for seed in range(3)]
        except (Unenforceable, AssertionError):
            continue
        for document in documents:
            if document is not None:
                n_drawn += 1
                error = next(validator(schema).iter_errors(document), None)
                assert error is None, (name, error)
    assert n_drawn > 30


def test_a_known_name_cannot_be_spelled_otherwise_to_be_free_of_its_schema():
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}, "additionalProperties": {"type": "string"}}
    state = LLMatcher(VOCABULARY, grammar(schema), log_level=0)
    text = b'{"\\u0061ge": "old"}'

    assert state.try_consume_tokens([*text]) < len(text)
    assert takes(schema, {"age": 3, "name": "x"})


@pytest.mark.parametrize(("pattern", "text"), [(r"^\S$", "\x1d"), (r"^[^\s-]$", "\x1c"), (r"^\D$", "\u0663")])
def test_what_readers_of_expressions_do_not_agree_on_is_not_written(pattern, text):
    """Python takes these for white space, or digits; JavaScript does not."""
    assert not takes(string(pattern=pattern), text)
    assert takes(string(pattern=pattern), "x")


@pytest.mark.parametrize(
    ("schema", "pointer"),
    [
        ({"properties": {"a": {"type": "nonsense"}}}, "#/properties/a/type"),
        ({"type": []}, "#/type"),
        ({"type": [1]}, "#/type"),
        ({"enum": 5}, "#/enum"),
        ({"required": "a"}, "#/required"),
        ({"required": [1]}, "#/required"),
        ({"items": {"minimum": "x"}}, "#/items/minimum"),
        ({"maximum": None}, "#/maximum"),
        ({"multipleOf": 0}, "#/multipleOf"),
        ({"anyOf": [True, {"minLength": -1}]}, "#/anyOf/1/minLength"),
        ({"maxItems": 1.5}, "#/maxItems"),
        ({"uniqueItems": 5}, "#/uniqueItems"),
        ({"pattern": 5}, "#/pattern"),
        ({"prefixItems": {}}, "#/prefixItems"),
        ({"$defs": 5}, "#/$defs"),
        ({"not": 5}, "#/not"),
        ({"if": 5, "then": {}}, "#/if"),
        ({"propertyNames": 5}, "#/propertyNames"),
    ],
)
def test_what_is_no_schema_is_refused_by_the_pointer_of_the_keyword(schema, pointer):
    with pytest.raises(Unenforceable) as caught:
        enforceable(schema)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("schema", [{"format": 5}, {"title": 5, "description": [], "examples": 3}, {"minLength": 2.0}])
def test_annotations_may_hold_anything(schema):
    assert isinstance(enforceable(schema), dict)
