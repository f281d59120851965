"""Text to ids and back, with the real vocabulary."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.real_model


@pytest.fixture(scope="module")
def tokenizer(driver):
    return driver.engine.tokenizer


def test_control_tokens_are_recognised_only_where_they_are_meant(tokenizer):
    end = tokenizer.control_tokens["<|im_end|>"]

    assert end in tokenizer.end_tokens
    assert end in tokenizer.encode("Hi<|im_end|>", special=True)
    assert end not in tokenizer.encode("Hi<|im_end|>", special=False)


def test_ordinary_tokens_are_no_control_tokens(tokenizer):
    assert "Hello" not in tokenizer.control_tokens
    assert 0 < len(tokenizer.control_tokens) < 100


@settings(max_examples=100, deadline=None)
@given(text=st.text(st.characters(max_codepoint=0x1FFFF, exclude_categories=["Cs", "Cc", "Cn"]), max_size=200))
def test_any_text_comes_back_byte_for_byte(tokenizer, text):
    """But for a few bytes that this vocabulary has no token for: in control characters and unassigned ones."""
    tokens = tokenizer.encode(text, special=False)

    assert b"".join(map(tokenizer.piece, tokens)) == text.encode()


def test_a_text_of_many_tokens_is_encoded_whole(tokenizer):
    text = "\u00e9\U0001f600" * 5000

    assert b"".join(map(tokenizer.piece, tokenizer.encode(text, special=False))) == text.encode()


def test_a_lone_surrogate_is_replaced(tokenizer):
    assert tokenizer.encode("\ud800", special=False) == tokenizer.encode("?", special=False)


def test_control_tokens_have_no_text(tokenizer):
    assert tokenizer.piece(tokenizer.control_tokens["<|im_end|>"]) == b""


@pytest.mark.parametrize("token", [-1, 49_152, 2**31])
def test_an_id_outside_the_vocabulary_is_an_error(tokenizer, token):
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokenizer.piece(token)


def test_the_files_template_and_special_tokens_are_known(tokenizer):
    assert "<|im_start|>" in tokenizer.chat_template
    assert tokenizer.eos in tokenizer.end_tokens
    assert not tokenizer.add_bos


@pytest.mark.filterwarnings("error:llama_token_get_attr is deprecated")  # one a token
def test_the_constraint_vocabulary_is_llguidances(tokenizer):
    from llguidance import LLMatcher

    vocabulary = tokenizer.constraint_vocabulary()

    assert vocabulary.vocab_size == tokenizer.n_vocab
    matcher = LLMatcher(vocabulary, LLMatcher.grammar_from_regex("[0-9]+"))
    assert not matcher.get_error()
