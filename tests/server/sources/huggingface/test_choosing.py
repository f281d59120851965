"""Which files of a repository make the model."""

import pytest

from aiadmin_core.errors import BadRequest, PullFailed
from aiadmin_server.sources.huggingface.choosing import RemoteFile, best, choose, label_of, variants
from aiadmin_server.sources.huggingface.reference import Wanted, is_of_hub, parse
from aiadmin_server.sources.huggingface.source import name_of

GB = 10**9


def files(*names, size=GB):
    return [RemoteFile(name, size * (i + 1)) for i, name in enumerate(names)]


@pytest.mark.parametrize(
    ("stem", "label"),
    [
        ("Llama-3.2-1B-Instruct-Q4_K_M", "Q4_K_M"),
        ("Llama-3.2-1B-Instruct.Q4_K_M", "Q4_K_M"),
        ("smollm2-135m-instruct-q8_0", "Q8_0"),
        ("Qwen3-30B-A3B-UD-Q4_K_XL", "UD-Q4_K_XL"),
        ("gpt-oss-20b-mxfp4", "MXFP4"),
        ("gpt-oss-20b-MXFP4_MOE", "MXFP4_MOE"),
        ("model-IQ4_XS", "IQ4_XS"),
        ("phi-3-fp16", "F16"),
        ("BF16/model-BF16", "BF16"),
        ("model-TQ1_0", "TQ1_0"),
        ("plain", "plain"),
    ],
)
def test_the_quantization_is_read_off_the_files_name(stem, label):
    assert label_of(stem) == label


def test_the_usual_one_is_taken_if_it_fits_else_the_largest_that_does_else_the_smallest():
    found = variants(files("m-Q2_K.gguf", "m-Q3_K_XL.gguf", "m-Q4_K_M.gguf", "m-Q8_0.gguf"))
    assert [best(found, memory, int).label for memory in (100 * GB, 3 * GB, 2 * GB, 1)] == [
        "Q4_K_M", "Q4_K_M", "Q2_K", "Q2_K",
    ]  # fmt: skip
    assert best(variants(files("m-Q3_K_XL.gguf", "m-X.gguf")), GB, int).label == "M-Q3_K_XL".removeprefix("M-")
    assert best(found, 0, int).label == "Q4_K_M", "nobody knows the memory"


def test_parts_count_together_and_what_lies_beside_does_not():
    names = [f"a/m-Q8_0-{part:05}-of-00002.gguf" for part in (1, 2)]
    found = variants(files(*names, "m-Q4_0.gguf", "mmproj-m-f16.gguf", "x.imatrix.gguf"))
    assert [(one.label, one.size, len(one.files)) for one in found] == [("Q4_0", 3 * GB, 1), ("Q8_0", 3 * GB, 2)]


def test_what_is_no_model_is_said():
    def chosen(*names, tag=""):
        return choose(files(*names), tag, repo="org/r", memory_bytes=0, needed=int)

    with pytest.raises(PullFailed, match="neither GGUF files nor safetensors"):
        chosen("pytorch_model.bin", "config.json")
    with pytest.raises(PullFailed, match="no whole model in safetensors"):
        chosen("adapter_model.safetensors", "adapter_config.json")
    with pytest.raises(PullFailed, match="no GGUF files, and so no 'Q4_0'"):
        chosen("model.safetensors", "config.json", tag="Q4_0")
    assert [role for role, _ in chosen("model.safetensors", "config.json", "tokenizer.json").files] == [
        "model", "config", "tokenizer",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("org/repo", Wanted("org/repo")),
        ("hf.co/Org/Re.po-1:Q4_K_M", Wanted("Org/Re.po-1", "", "Q4_K_M")),
        ("huggingface.co/org/repo@v1.0:latest", Wanted("org/repo", "v1.0", "")),
        ("https://huggingface.co/org/repo/", Wanted("org/repo")),
        ("https://huggingface.co/org/repo/resolve/abc/a/b.gguf?download=true", Wanted("org/repo", "abc", "a/b.gguf")),
        ("https://huggingface.co/org/repo/tree/main", Wanted("org/repo")),
    ],
)
def test_references_name_a_repository_and_what_of_it(text, wanted):
    assert parse(text) == wanted


@pytest.mark.parametrize(
    "text", ["", "repo", "a/b/c", "../x", "org/repo:", "org/re po", "hf.co/", "hf.co/datasets/a/b"]
)
def test_other_texts_are_refused(text):
    with pytest.raises(BadRequest, match="names no model of the hub"):
        parse(text)


def test_the_hubs_host_is_what_claims():
    assert is_of_hub("HF.co/a/b")
    assert is_of_hub("https://huggingface.co/a/b")
    assert not any(map(is_of_hub, ("a/b", "hf.co", "hf.com/a/b", "registry.example/hf.co/b")))


def test_a_name_that_the_store_cannot_have_becomes_one_it_can():
    assert name_of("hf.co", "org/repo", "Q4_0") == "hf.co/org/repo:Q4_0"
    assert name_of("hf.co", "o.rg/Repo", "Q4_0") == "repo-q4_0"
