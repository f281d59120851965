"""Models whose caches are of other kinds: sliding windows that forget, recurrent states that cannot be cut back, and
caches that cannot be batched at all."""

import json
import shutil

import mlx.core as mx
import pytest
from mlx.utils import tree_flatten
from mlx_lm.models import llama, mamba
from mlx_lm.models.cache import KVCache

PROMPTS = ["The quick brown fox " * 4, "Once upon a time there was", "12 + 30 ="]

SLIDING = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": 16}
RECURRENT = {
    "model_type": "mamba",
    "hidden_size": 64,
    "intermediate_size": 128,
    "state_size": 8,
    "num_hidden_layers": 2,
    "conv_kernel": 4,
    "use_bias": False,
    "use_conv_bias": True,
    "time_step_rank": 4,
    "tie_word_embeddings": True,
}


@pytest.fixture(scope="module", params=[(llama, SLIDING), (mamba, RECURRENT)], ids=["sliding window", "recurrent"])
def folder(request, tiny_mlx, tmp_path_factory):
    """A model of random weights of that kind, with the tiny model's tokenizer."""
    family, changes = request.param
    target = tmp_path_factory.mktemp("model")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_mlx / name, target / name)
    config = {**json.loads((tiny_mlx / "config.json").read_text()), **changes}
    (target / "config.json").write_text(json.dumps(config))
    parameters = tree_flatten(family.Model(family.ModelArgs.from_dict(config)).parameters())
    keys = mx.random.split(mx.random.key(1), len(parameters))
    weights = {
        name: mx.random.normal(value.shape, key=key) * 0.3 if value.ndim > 1 else value
        for (name, value), key in zip(parameters, keys, strict=True)
    }
    mx.save_safetensors(str(target / "model.safetensors"), weights)
    return target


def test_sequences_decoded_together_equal_those_decoded_alone(open_player, folder):
    player = open_player(folder, n_batch=16)
    alone = [player.run(prompt, max_tokens=30).tokens for prompt in PROMPTS]

    together = [player.submit(prompt, max_tokens=30, cache_salt="together") for prompt in PROMPTS]

    assert [answer.wait().tokens for answer in together] == alone
    assert player.engine.stats().max_batch == 3


def test_the_next_turn_goes_on_from_what_cannot_be_cut_back(open_player, folder):
    player = open_player(folder)
    first = player.run(PROMPTS[0], max_tokens=20)
    history = [*first.request.prompt[0].tokens, *first.tokens]

    second = player.run([*history, 50, 51], max_tokens=5)

    assert second.prefilled.n_cached == len(history) - 1
    assert second.tokens == player.run([*history, 50, 51], max_tokens=5, cache_salt="nothing kept").tokens


def test_a_branch_that_cannot_be_cut_back_is_prefilled_anew(open_player, folder):
    player = open_player(folder)
    first = player.run(PROMPTS[0], max_tokens=20)
    other = [*first.request.prompt[0].tokens[:-5], 50, 51]

    branch = player.run(other, max_tokens=5)

    assert branch.prefilled.n_cached == 0
    assert branch.tokens == player.run(other, max_tokens=5, cache_salt="nothing kept").tokens


def test_choices_of_one_prefill_are_each_their_own(open_player, folder):
    player = open_player(folder)
    alone = [player.run(PROMPTS[1], max_tokens=8, temperature=1.0, seed=5 + i).tokens for i in range(2)]

    answer = player.run(PROMPTS[1], max_tokens=8, temperature=1.0, seed=5, n=2)

    assert [answer.choices[0].tokens, answer.choices[1].tokens] == alone


def test_caches_that_cannot_be_merged_are_served_one_at_a_time(open_player, monkeypatch):
    def not_yet(*_):
        raise NotImplementedError

    monkeypatch.setattr(KVCache, "merge", not_yet)
    player = open_player()

    answers = [player.submit(prompt, max_tokens=5) for prompt in PROMPTS]

    assert all(len(answer.wait().tokens) == 5 for answer in answers)
    assert player.engine.capabilities.max_choices == player.engine.stats().max_batch == 1
    assert any(note.startswith("one sequence at a time") for note in player.engine.facts.notes)
