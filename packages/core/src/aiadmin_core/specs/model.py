"""What a model is made of on disk, and what an engine learnt about it when it loaded."""

from typing import Any, Literal

from msgspec import Struct

from .content import Message

FileRole = Literal["model", "projector", "adapter", "draft", "tokenizer", "config", "template"]
RopeScaling = Literal["none", "linear", "yarn"]
ModelFormat = str
"""What kind of files a model is: "gguf", "safetensors", "remote" (a description of where it is served), or a backend's
own, by the word its `inspect` gives; "other" for what nobody knows."""


class ModelFile(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One file of a model, where it can be opened."""

    role: FileRole
    path: str
    """Absolute."""
    name: str = ""
    """What the file is called inside its model (`config.json`), where that matters."""
    size: int = 0
    digest: str = ""
    """`sha256:<hex>`; empty where it was never hashed."""


class ModelSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A model as a backend is asked to open it."""

    name: str
    """Display name, `smollm2:latest`."""
    digest: str
    """Of the weights: names that share it share a runner."""
    format: ModelFormat
    files: tuple[ModelFile, ...]
    template: str | None = None
    """A chat template that replaces the one in the files."""
    system: str | None = None
    """A system message for conversations that have none."""
    messages: tuple[Message, ...] = ()
    """Turns that stand before those of every conversation, behind the system message."""
    parameters: dict[str, Any] = {}
    """The model's own defaults (temperature, stop, num_ctx, ...)."""

    def file(self, role: FileRole) -> ModelFile | None:
        """The first file that plays `role`."""
        return next((file for file in self.files if file.role == role), None)


class EngineOptions(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How to open a model. None leaves the choice to the backend."""

    n_ctx: int | None = None
    """Tokens of context: the most a prompt and its answer may have together. A backend with one cache of a fixed size
    shares it among all sequences (llama.cpp); one whose cache grows has room for more of them (MLX)."""
    rope_scaling: RopeScaling | None = None
    """How positions are scaled in a context beyond the trained one. None and "none": not at all, and the context ends
    where the training did."""
    n_batch: int | None = None
    """Most tokens in one decode step."""
    n_parallel: int | None = None
    """Most sequences decoded together."""
    n_threads: int | None = None
    n_contexts: int | None = None
    """Contexts that decode side by side, each with its share of the threads and a cache of its own: 1 or 2. None takes
    what is faster here, where memory allows."""
    n_replicas: int | None = None
    """Engines that answer for the model together, each in a process of its own and opened like the others. The server
    opens them; a backend may put them on devices of their own."""
    replica: int = 0
    """Which of them this one is."""
    n_gpu_layers: int | None = None
    devices: str | None = None
    """Names of those that hold the model, separated by commas, in the backend's words (llama.cpp: `CUDA0,CUDA1`)."""
    tensor_split: str | None = None
    """How much of it each of them gets, as shares in their order (`3,1`). None: by their free memory."""
    safe_mode: bool = False
    """Avoid every optional fast path that is known to crash on some machines."""
    kv_cache_type: str | None = None
    """How keys and values are stored, in the backend's own words (llama.cpp: `bf16/f16`, `q8_0`, ...)."""
    exact: bool = False
    """The same request gives the same answer, to the last bit and beside any others; refused where it cannot be had."""
    speculation: bool | None = None
    """Guess tokens by what was said before, and verify several in a step. None does where no answer changes by it, to
    the last bit of its logits; True also where it might."""
    draft_model: str | None = None
    """Name of a small model of the same vocabulary, whose guesses are verified like those: its files are among the
    model's own, with the role "draft"."""
    prefix_bytes: int | None = None
    """Memory for what was computed for the beginnings of prompts and is not in use. 0 keeps none."""
    prefix_folder: str | None = None
    """Where the same is kept across restarts; None keeps none."""
    prefix_disk_bytes: int = 0
    """Most that the files there may take, those of all models together."""
    extra: dict[str, Any] = {}
    """Settings only one backend knows."""


class ModelFacts(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the engine found out when it opened the model. 0 and "" mean unknown."""

    architecture: str = ""
    n_params: int = 0
    n_ctx: int = 0
    """Context it was opened with: a prompt and its answer must fit."""
    n_ctx_train: int = 0
    n_vocab: int = 0
    n_embd: int = 0
    size_bytes: int = 0
    quantization: str = ""
    device: str = "cpu"
    device_bytes: int = 0
    """What it took of devices when it was opened, beside what their driver keeps for the process (CUDA: 0.5 GB)."""
    notes: tuple[str, ...] = ()
    """What an administrator should know: "safe mode: ...", "no chat template, ..."."""


class EngineStats(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Counters and gauges of one engine, read now and then for `/metrics` and `ps`."""

    n_running: int = 0
    """Sequences being prefilled or decoded."""
    n_waiting: int = 0
    n_steps: int = 0
    """Decode steps since the engine opened."""
    n_sequences_decoded: int = 0
    """Sequences that got a token, summed over all steps: divided by `n_steps`, the mean batch size."""
    max_batch: int = 0
    """Most sequences that got a token in one step."""
    n_prompt_tokens: int = 0
    n_cached_tokens: int = 0
    n_completion_tokens: int = 0
    kv_used: int = 0
    """Cells of the KV cache in use, cached prefixes included."""
    kv_total: int = 0
    prefix_bytes: int = 0
    """Memory of what was computed for beginnings of prompts and is kept beside that cache."""
    n_cancelled: int = 0
    """Requests given up before their end; an answer ended by its own stop string is none."""
    n_drafted: int = 0
    """Guessed tokens that steps verified beside those they had to decode."""
    n_accepted: int = 0
    """Those of them that were right: each saved its sequence a step."""
    memory_bytes: int = 0
    """Resident memory of the engine's process, 0 where unknown."""
