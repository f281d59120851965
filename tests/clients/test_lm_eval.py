"""lm-evaluation-harness, by its models for servers of OpenAI's API, on small tasks of our own."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("lm_eval") is None:
    pytest.skip(
        "with its hundreds of megabytes lm_eval is installed by `nox -s clients`, not for every run",
        allow_module_level=True,
    )

QUESTIONS = [
    {"question": "The capital of France is", "choices": ["Paris", "a cat", "London town"], "answer": 0},
    {"question": "Two plus two is", "choices": ["a river", "four"], "answer": 1},
    {"question": "Naïve 🙂 people say", "choices": ["hello", "no, never", "十二", "yes"], "answer": 0},
]
TEXTS = [{"text": "One day a fox met a hen. " * 9}, {"text": "The sky over Zürich is 🙂 blue."}]
CHOICE = """
task: own_choice
output_type: multiple_choice
doc_to_text: "Complete this. {{question}}"
doc_to_choice: choices
doc_to_target: answer
metric_list:
  - metric: acc
"""
ROLLING = """
task: own_rolling
output_type: loglikelihood_rolling
doc_to_text: ""
doc_to_target: "{{text}}"
metric_list:
  - metric: bits_per_byte
"""
ANSWER = """
task: own_answer
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: "{{choices[answer]}}"
generation_kwargs:
  until: ["\\n\\n"]
  max_gen_toks: 8
metric_list:
  - metric: exact_match
"""


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its libraries read these when they are imported, which the tests do."""
    for name, value in (("HF_HUB_OFFLINE", "1"), ("HF_DATASETS_OFFLINE", "1"), ("TOKENIZERS_PARALLELISM", "false")):
        monkeypatch.setenv(name, value)


@pytest.fixture
def tasks(tmp_path: Path) -> Any:
    """The tasks' folder."""
    for name, task, rows in (("choice", CHOICE, QUESTIONS), ("rolling", ROLLING, TEXTS), ("answer", ANSWER, QUESTIONS)):
        data = tmp_path / f"{name}.jsonl"
        data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
        place = f"dataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {data}\ntest_split: test\n"
        (tmp_path / f"{name}.yaml").write_text(task + place, encoding="utf-8")
    from lm_eval.tasks import TaskManager

    return TaskManager(include_path=str(tmp_path), include_defaults=False)


def evaluate(model: str, tasks: Any, names: list[str], **more: Any) -> dict[str, list[Any]]:
    """What the model answered, by task: the samples in their order."""
    import lm_eval

    found = lm_eval.simple_evaluate(
        model=model, tasks=names, task_manager=tasks, log_samples=True, bootstrap_iters=0, **more
    )
    return {name: sorted(found["samples"][name], key=lambda one: one["doc_id"]) for name in names}


@pytest.mark.parametrize("tokenized", [True, False])
@pytest.mark.parametrize("concurrent", [1, 4])
def test_texts_have_the_numbers_of_a_direct_computation(
    base_url: str,
    tasks: Any,
    smollm2_gguf: Path,
    smollm2_mlx: Path,
    direct_logprobs: Any,
    tokenized: bool,
    concurrent: int,
) -> None:
    given = {
        "model": "smollm2",
        "base_url": f"{base_url}/completions",
        "tokenizer": str(smollm2_mlx),
        "tokenizer_backend": "huggingface",
        "tokenized_requests": tokenized,
        "num_concurrent": concurrent,
        "max_length": 1024,
    }
    arguments = ",".join(f"{name}={value}" for name, value in given.items())
    samples = evaluate("local-completions", tasks, ["own_choice", "own_rolling"], model_args=arguments)
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(smollm2_mlx))

    def direct(before: list[int], text: list[int]) -> float:
        """How likely `text` is behind `before`."""
        tokens = before + text
        rows = direct_logprobs(smollm2_gguf, tokens)
        return float(sum(rows[range(len(before) - 1, len(tokens) - 1), text]))

    for sample, row in zip(samples["own_choice"], QUESTIONS, strict=True):
        asked = f"Complete this. {row['question']}"
        for (found, _), answer in zip(sample["filtered_resps"], row["choices"], strict=True):
            n = len(tokenizer.encode(asked))
            whole = tokenizer.encode(f"{asked} {answer}")
            assert float(found) == pytest.approx(direct(whole[:n], whole[n:]), abs=1e-3)
    for sample, row in zip(samples["own_rolling"], TEXTS, strict=True):
        expected = direct([tokenizer.bos_token_id], tokenizer.encode(row["text"]))
        assert float(sample["filtered_resps"][0]) == pytest.approx(expected, abs=1e-3)


def test_conversations_are_answered(base_url: str, tasks: Any) -> None:
    arguments = f"model=smollm2,base_url={base_url}/chat/completions"
    samples = evaluate("local-chat-completions", tasks, ["own_answer"], model_args=arguments, apply_chat_template=True)

    answers = [sample["filtered_resps"][0] for sample in samples["own_answer"]]
    assert len(answers) == len(QUESTIONS)
    assert all(answers)
