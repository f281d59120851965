"""How an engine opens, dies and closes."""

import json
import shutil
import threading
from importlib import metadata

import pytest

from aiadmin_core.cache.parking import Folder
from aiadmin_core.errors import EngineStopped, ModelLoadFailed


def test_an_architecture_that_mlx_lm_does_not_know_is_named_with_a_way_out(open_player, tiny_mlx, tmp_path):
    folder = copy_of(tiny_mlx, tmp_path, config={"model_type": "gizmo"})

    with pytest.raises(ModelLoadFailed) as raised:
        open_player(folder)

    assert "'gizmo'" in raised.value.message
    assert metadata.version("mlx-lm") in raised.value.message
    assert "pip install --upgrade mlx-lm" in raised.value.hint


def test_weights_that_do_not_match_the_config_are_a_load_failure(open_player, tiny_mlx, tmp_path):
    folder = copy_of(tiny_mlx, tmp_path, config={"num_hidden_layers": 3})

    with pytest.raises(ModelLoadFailed, match="cannot load test"):
        open_player(folder)


def test_a_cut_weight_file_is_a_load_failure(open_player, tiny_mlx, tmp_path):
    folder = copy_of(tiny_mlx, tmp_path)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(1_000_000)

    with pytest.raises(ModelLoadFailed, match="no whole safetensors file"):
        open_player(folder)


def test_a_model_of_own_code_is_not_run(open_player, tiny_mlx, tmp_path):
    folder = copy_of(tiny_mlx, tmp_path, config={"model_file": "evil.py"})
    (folder / "evil.py").write_text("raise SystemExit('ran')")

    with pytest.raises(ModelLoadFailed, match=r"evil\.py"):
        open_player(folder)


def test_a_model_larger_than_the_memory_is_refused_with_both_numbers(open_player):
    with pytest.raises(ModelLoadFailed) as raised:
        open_player(extra={"memory_limit_bytes": 20_000_000})

    assert "0.03 GB" in raised.value.message
    assert "0.02 GB" in raised.value.message


def test_the_context_is_cut_to_what_the_memory_holds_and_says_so(open_player):
    facts = open_player(extra={"memory_limit_bytes": 26_200_000, "prompt_cache_bytes": 0}).engine.facts

    assert 256 <= facts.n_ctx < 2048
    assert any(note.startswith("context cut from 2048 to ") for note in facts.notes)


def test_a_setting_nobody_knows_is_refused(open_player):
    with pytest.raises(ModelLoadFailed, match="turbo"):
        open_player(extra={"turbo": True})


def test_what_is_not_known_to_hold_is_refused_by_name(open_player):
    with pytest.raises(ModelLoadFailed, match="'exact'"):
        open_player(exact=True)


def test_options_are_honoured_or_noted(open_player):
    player = open_player(n_ctx=64, n_parallel=2, n_threads=3, n_gpu_layers=0, safe_mode=True)

    facts = player.engine.facts
    assert (facts.n_ctx, facts.device, player.engine.capabilities.max_choices) == (64, "cpu", 2)
    assert [note.split(":")[0] for note in facts.notes] == ["safe mode", "reproducible", "n_threads has no effect"]
    assert len(player.run([5] * 61, max_tokens=9).tokens) == 3
    assert player.run([5] * 64, max_tokens=9).error is not None


def test_the_facts_are_those_of_the_files(tiny):
    facts = tiny.engine.facts

    assert (facts.architecture, facts.quantization, facts.device) == ("llama", "F32", "cpu")
    assert (facts.n_ctx, facts.n_ctx_train, facts.n_vocab, facts.n_embd) == (2048, 2048, 49152, 64)
    assert facts.n_params == 2 * 49152 * 64 + 2 * (64 * 64 * 2 + 32 * 64 * 2 + 3 * 64 * 128 + 2 * 64) + 64


def test_an_unforeseen_error_ends_the_open_requests_and_the_engine_goes_on(open_player):
    player = open_player(n_parallel=1)
    before = player.run("one two", max_tokens=5).tokens
    running, waiting = (player.submit(prompt, max_tokens=1000) for prompt in ("three", "four"))
    running.first_token.wait()
    fail_once(player)

    assert isinstance(running.wait().error, MemoryError)
    assert isinstance(waiting.wait().error, MemoryError)
    again = player.run("one two", max_tokens=5)
    assert again.tokens == before
    assert again.prefilled.n_cached == 0  # what was kept is in doubt
    assert player.engine.stats().n_running == 0


def test_an_engine_that_fails_again_and_again_dies_and_says_so(open_player):
    player = open_player(n_parallel=1)
    requests = [player.submit(prompt, max_tokens=1000) for prompt in ("one", "two")]
    requests[0].first_token.wait()
    forward = fail_once(player)
    [request.wait() for request in requests]
    forward.failures = 1  # before a single step went well

    last = player.submit("three")

    assert "MemoryError: no room" in str(last.wait().error)
    with pytest.raises(EngineStopped, match="engine thread died"):
        player.submit("four")
    with pytest.raises(EngineStopped, match="engine thread died"):
        player.engine.stats()


class Failing:
    """A model's forward pass that fails a number of times."""

    def __init__(self, forward):
        self.forward = forward
        self.failures = 1

    def __call__(self, *arguments, **options):
        if self.failures:
            self.failures -= 1
            raise MemoryError("no room")
        return self.forward(*arguments, **options)


def fail_once(player):
    """Let the engine's next forward pass fail."""
    stepper = player.engine._thread.stepper
    failing = Failing(stepper.model.call)
    stepper.model.call = stepper._batch._model = failing
    return failing


def test_closing_ends_open_requests_and_the_thread(open_player):
    player = open_player(n_parallel=1)
    running = player.submit("one", max_tokens=1000)
    waiting = player.submit("two", max_tokens=1000)
    running.first_token.wait()

    player.engine.close()

    assert running.wait().error is not None
    assert waiting.wait().error is not None
    assert player.engine._thread._thread not in threading.enumerate()
    with pytest.raises(EngineStopped, match="unloaded"):
        player.submit("three")
    player.engine.close()  # once more does no harm
    player.engine.cancel(1)
    assert player.engine.stats().n_completion_tokens > 0


def test_an_engine_that_was_never_started_can_be_closed(tiny_mlx, describe):
    from aiadmin_core.specs.model import EngineOptions
    from aiadmin_mlx.backend import MlxBackend

    MlxBackend().open_engine(describe(tiny_mlx), EngineOptions()).close()


def test_a_model_of_blobs_is_loaded_by_the_names_its_files_have(open_player, tiny_mlx, tmp_path, describe):
    from aiadmin_core.specs.model import EngineOptions, ModelFile, ModelSpec
    from aiadmin_mlx.backend import MlxBackend

    files = []
    for index, path in enumerate(sorted(tiny_mlx.iterdir())):
        blob = tmp_path / f"sha256-{index}"
        shutil.copy(path, blob)
        files.append(ModelFile(role="model", path=str(blob), name=path.name))
    spec = ModelSpec(name="blobs", digest="sha256:0", format="safetensors", files=tuple(files))

    engine = MlxBackend().open_engine(spec, EngineOptions())

    assert engine.facts.architecture == "llama"
    assert engine.tokenizer.chat_template
    engine.close()


def copy_of(folder, target, config=None):
    """A copy of a model folder, its config changed."""
    copied = target / "model"
    shutil.copytree(folder, copied)
    path = copied / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **(config or {})}))
    return copied


def test_a_prompt_is_read_once_also_when_the_engine_is_opened_again(tiny_mlx, tmp_path, open_player):
    """The next engine finds in files what this one computed, and says the same."""
    keep = {"prefix_folder": str(tmp_path), "prefix_disk_bytes": 10**8}
    prompt = [*range(5, 205)]
    answers = []
    for n_cached in (0, len(prompt) - 1):
        player = open_player(**keep)
        answers.append(player.run(prompt, max_tokens=8))
        assert answers[-1].prefilled.n_cached == n_cached
        player.engine.close()

    assert len(answers[0].tokens) == 8
    assert answers[0].tokens == answers[1].tokens
    assert open_player(**keep, safe_mode=True).run(prompt, max_tokens=1).prefilled.n_cached == 0, "computed otherwise"


def test_what_an_engine_computed_is_in_a_file_before_it_closes(tiny_mlx, tmp_path, open_player, monkeypatch):
    """So that one that is killed has not read it for nothing."""
    written, write = threading.Event(), Folder.write

    def tell(*args):
        done = write(*args)
        written.set()
        return done

    monkeypatch.setattr(Folder, "write", tell)
    keep = {"prefix_folder": str(tmp_path), "prefix_disk_bytes": 10**8}
    prompt = [*range(5, 205)]
    first = open_player(**keep).run(prompt, max_tokens=8)
    assert written.wait(30), "nothing was asked since"

    second = open_player(**keep).run(prompt, max_tokens=8)

    assert second.prefilled.n_cached == len(prompt) - 1
    assert second.tokens == first.tokens
