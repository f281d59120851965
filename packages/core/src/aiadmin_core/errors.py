"""Every deliberate error::

    AiAdminError
      BadRequest                400  the request cannot be served as it is; `param` names the field
        UnsupportedParameter    400  understood, and refused by name: this engine does not have it
        ContextLengthExceeded   400  prompt (and answer) do not fit; both numbers are given
        InputTooLong            400  a text that has to be read at once does not fit
        InvalidName             400  not a model name
      NotAllowed                403  understood, and not for whoever asks
      NotAuthenticated          401  no API key, or one nobody knows
      ModelNotFound             404  neither a model nor an alias
      NoBackend                 501  the model is there, the package that can serve it is not
      Overloaded                503  the queue is full; `retry_after_s` says when to come back
      ModelLoadFailed           503  the engine could not open the model
      EngineStopped             503  the engine has ended for good; its runner ends, and the next one is fresh
      RunnerDied                502  the process that held the model ended under the request
      ModelCrashing             503  it has ended several times of late; `retry_after_s` says when it is tried again
      StoreError                500  the model store cannot be read or written
        ModelExists             409  the name belongs to a model from elsewhere
        PullFailed              502  a source could not deliver
        PushFailed              502  a registry did not take a model
      PluginError               500  a plugin broke its contract

Each says what happened (`message`) and what to do next (`hint`). The API that was called wraps them in its own
envelope; the command line prints both as sentences.
"""

from typing import Self


class AiAdminError(Exception):
    """What happened, then what to do next."""

    code = "internal_error"
    status = 500
    retry_after_s: int | None = None
    """When it makes sense to ask again, in seconds."""
    should_retry: bool | None = None
    """Whether clients should try again by themselves; None leaves it to them, who mostly try 5xx again."""

    def __init__(self, message: str, *, hint: str = "", param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.param = param

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        end = "" if self.message.endswith((".", "!", "?", ":")) else "."  # it may quote a log
        return f"{self.message}{end} {self.hint}"

    def with_hint(self, hint: str) -> Self:
        """The same error with another hint: an error may be raised for several requests, and is not changed."""
        other = type(self).__new__(type(self), *self.args)
        other.__dict__.update(self.__dict__)
        other.hint = hint
        return other


class BadRequest(AiAdminError):
    """The request cannot be served as it is."""

    code, status = "invalid_value", 400


class UnsupportedParameter(BadRequest):
    """A field that is understood but that this engine does not have."""

    code = "unsupported_parameter"

    def __init__(self, param: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(
            f"Unsupported parameter: '{param}'" + (f": {why}" if why else " is not supported by this model."),
            param=param,
            hint=hint,
        )


class ContextLengthExceeded(BadRequest):
    """Prompt, or prompt and answer, do not fit the context."""

    code = "context_length_exceeded"

    def __init__(self, *, n_prompt: int, n_ctx: int, param: str = "messages") -> None:
        super().__init__(
            # Programs that shorten a conversation by themselves look for the first five words of this.
            f"This model's maximum context length is {n_ctx} tokens, the answer included; the prompt has {n_prompt}.",
            hint="Shorten the prompt, or serve the model with a larger context.",
            param=param,
        )
        self.n_prompt = n_prompt
        self.n_ctx = n_ctx


class InputTooLong(BadRequest):
    """A text that the model has to read at once, to embed or to rank it, is longer than that."""

    code = "context_length_exceeded"

    def __init__(self, *, n_tokens: int, n_most: int, param: str) -> None:
        super().__init__(
            f"'{param}' has {n_tokens} tokens; this model reads at most {n_most} at once.",
            hint="Split it, or ask for its beginning to be read.",
            param=param,
        )
        self.n_tokens = n_tokens
        self.n_most = n_most


class InvalidName(BadRequest):
    """Not a model name."""

    code = "invalid_model_name"


class NotAuthenticated(AiAdminError):
    """No API key, or one nobody knows."""

    code, status = "invalid_api_key", 401


class NotAllowed(AiAdminError):
    """Understood, and not for whoever asks."""

    code, status = "not_allowed", 403


class ModelNotFound(AiAdminError):
    """The name is neither a model in the store nor an alias."""

    code, status = "model_not_found", 404

    def __init__(self, name: str, *, nearest: str | None = None, hint: str | None = None) -> None:
        if hint is None:
            hint = f"Did you mean '{nearest}'?" if nearest else f"Run `aiadmin pull {name}` to fetch it."
        super().__init__(f"The model '{name}' was not found.", hint=hint, param="model")


class NoBackend(AiAdminError):
    """No installed backend can serve the model."""

    code, status = "no_backend", 501


class Overloaded(AiAdminError):
    """Too many requests are waiting."""

    code, status = "overloaded", 503

    def __init__(self, message: str, *, hint: str = "Try again in a moment.", retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ModelLoadFailed(AiAdminError):
    """The engine could not open the model."""

    code, status = "model_load_failed", 503


class EngineStopped(AiAdminError):
    """The engine has ended (it was closed, or its thread died) and answers nothing any more."""

    code, status = "engine_stopped", 503


class RunnerDied(AiAdminError):
    """The process that held the model ended; its signal or exit status is in the message. Its last words are in the
    server's log alone: they may hold the text of others.

    Clients are told not to try again by themselves: the request may be what killed it.
    """

    code, status, should_retry = "runner_died", 502, False


class ModelCrashing(AiAdminError):
    """The model's process has ended several times in a short while, and is not started again for a moment."""

    code, status = "model_crashing", 503

    def __init__(self, message: str, *, hint: str = "", retry_after_s: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class StoreError(AiAdminError):
    """The model store cannot be read or written."""

    code = "store_error"


class ModelExists(StoreError):
    """The name belongs to a model that came from elsewhere, and nobody said to replace it."""

    code, status = "model_exists", 409


class PullFailed(StoreError):
    """A source could not deliver the model."""

    code, status = "pull_failed", 502


class PushFailed(StoreError):
    """A registry did not take a model, or not all of it."""

    code, status = "push_failed", 502


class PluginError(AiAdminError):
    """A plugin broke its contract."""

    code = "plugin_error"
