"""Errors on their way between processes: an exception becomes a `Failed`, and an exception again at the other end."""

from typing import Any

from .. import errors
from ..specs.events import Failed
from .messages import LoadFailed

_RESTORED: dict[str, type[errors.AiAdminError]] = {
    cls.code: cls
    for cls in (
        errors.BadRequest,
        errors.InvalidName,
        errors.NoBackend,
        errors.ModelLoadFailed,
        errors.RunnerDied,
        errors.StoreError,
        errors.PluginError,
    )
}
"""Classes that are their message and hint alone; the others come back as their nearest base, code and status kept."""


def failed(request_id: int, error: BaseException) -> Failed:
    """What the client of `request_id` is told of `error`: all of a deliberate one, little of any other."""
    if isinstance(error, errors.AiAdminError):
        return Failed(
            request_id, error.message, code=error.code, status=error.status, hint=error.hint, param=error.param
        )
    return Failed(
        request_id,
        f"The engine failed: {type(error).__name__}.",
        hint="The runner's log has the traceback; `aiadmin doctor` says where it is.",
    )


def restore(failure: Failed) -> errors.AiAdminError:
    """The exception that `failure` was made of."""
    return _restore(failure.code, failure.status, failure.message, hint=failure.hint, param=failure.param)


def restore_load(failure: LoadFailed) -> errors.AiAdminError:
    """The same, of a model that cannot be opened."""
    return _restore(failure.code, failure.status, failure.message, hint=failure.hint, param=None)


def _restore(code: str, status: int, message: str, **details: Any) -> errors.AiAdminError:
    if code == errors.Overloaded.code:
        return errors.Overloaded(message, hint=details["hint"])
    nearest = errors.BadRequest if status == errors.BadRequest.status else errors.AiAdminError
    error = _RESTORED.get(code, nearest)(message, **details)
    error.code, error.status = code, status
    return error
