"""Documents drawn at random from the grammars of schemas, whatever comes up under their masks, are valid."""

import json
import random
from functools import cache
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llguidance import LLMatcher

from aiadmin_core.constraint.lark import styled
from aiadmin_core.constraint.unenforceable import Unenforceable
from aiadmin_core.testing.fake import ByteTokenizer

pytestmark = pytest.mark.hypothesis  # `nox -s properties` draws many more
VOCABULARY = ByteTokenizer().constraint_vocabulary()
BENCH = Path(__file__).parents[4] / "shared" / "data" / "jsonschemabench"
GENERATORS = json.loads((Path(__file__).parent / "generators.json").read_text(encoding="utf-8"))
LONGEST = 600
"""Bytes after which a document is brought to its end, and twice of which it is given up."""
CLOSING = b'"}],:'


@cache
def schemas():
    """By name; the expressions of Unicode's properties are none of `jsonschema`'s."""
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(BENCH.glob("*.json"))}
    for generator, examples in GENERATORS.items():
        found |= {f"{generator} {name}": one["schema"] for name, one in examples.items() if "emoji" not in name}
    return found


@cache
def compiled(name):
    """None where the schema cannot be enforced."""
    try:
        grammar = json.dumps({"grammars": [{"json_schema": styled(schemas()[name])}]})
    except Unenforceable:
        return None
    state = LLMatcher(VOCABULARY, grammar, log_level=0)
    return None if state.is_error() else state


def drawn(state, picks):
    """A document; None where it does not come to its end, or the grammar's limits are reached."""
    state, written = state.deep_copy(), bytearray()
    while len(written) < 2 * LONGEST:
        mask = state.compute_bitmask()
        if state.is_error():
            return None
        if state.is_stopped() or (state.is_accepting() and picks.random() < 0.3):
            return written.decode()
        allowed = [byte for byte in range(256) if mask[byte // 8] >> (byte % 8) & 1]
        closing = [byte for byte in CLOSING if byte in allowed]
        plain = [byte for byte in allowed if 32 <= byte < 127] or allowed
        hurry = picks.random() < 0.2 + len(written) / LONGEST
        byte = picks.choice(closing if closing and hurry else plain if picks.random() < 0.95 else allowed)
        state.consume_token(byte)
        written.append(byte)
    return None


@pytest.mark.parametrize("part", range(4))
def test_documents_drawn_from_real_schemas_are_valid(part):
    names = list(schemas())[part::4]

    @settings(deadline=None)
    @given(st.sampled_from(names), st.integers(0, 2**32))
    def holds(name, seed):
        state = compiled(name)
        text = drawn(state, random.Random(seed)) if state is not None else None
        if text is not None:
            validator = jsonschema.validators.validator_for(schemas()[name], default=jsonschema.Draft202012Validator)
            error = next(validator(schemas()[name]).iter_errors(json.loads(text)), None)
            assert error is None, (name, text, error)

    holds()


def test_most_draws_come_to_a_document():
    """Or else the test above would say little."""
    names = [name for name in list(schemas())[::9] if compiled(name) is not None]
    documents = [drawn(compiled(name), random.Random(name)) for name in names]

    assert sum(document is not None for document in documents) > 0.6 * len(documents)
