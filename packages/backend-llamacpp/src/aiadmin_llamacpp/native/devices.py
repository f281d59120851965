"""What llama.cpp can compute on besides the processor, and how much memory is free there. Asked by `engine.opening`.

llama-cpp-python does not bind these functions of ggml (`ggml-backend.h`); its library finds them in those it links to.
"""

import ctypes
from typing import Any

from llama_cpp import llama_cpp as lib

from ..offload import Device

_OF_ITS_OWN, _THE_MACHINES = 1, 2
"""`ggml_backend_dev_type`, by whose memory it computes in. Others are the processor and its helpers."""


def find_devices() -> list[Device]:
    """Devices that layers can be put on, in llama.cpp's order; none in a build without."""
    if not lib.llama_supports_gpu_offload():
        return []
    return [device for kind, device in all_devices() if kind in (_OF_ITS_OWN, _THE_MACHINES)]


def free_bytes() -> int:
    """Of all these devices together."""
    return sum(device.free_bytes for device in find_devices())


def all_devices() -> list[tuple[int, Device]]:
    """Every device of this build with its `ggml_backend_dev_type`, the processor (0) among them."""
    n_devices = _function("ggml_backend_dev_count", ctypes.c_size_t)()
    get = _function("ggml_backend_dev_get", ctypes.c_void_p, ctypes.c_size_t)
    kind = _function("ggml_backend_dev_type", ctypes.c_int, ctypes.c_void_p)
    handles = [get(index) for index in range(n_devices)]
    return [(kind(handle), _describe(handle)) for handle in handles]


def handle_of(name: str) -> int:
    """The device of that name, a `ggml_backend_dev_t`. It is one of `find_devices`."""
    by_name = _function("ggml_backend_dev_by_name", ctypes.c_void_p, ctypes.c_char_p)
    return int(by_name(name.encode()))


def _describe(handle: int) -> Device:
    name = _function("ggml_backend_dev_name", ctypes.c_char_p, ctypes.c_void_p)(handle)
    memory = _function("ggml_backend_dev_memory", None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    memory(handle, ctypes.byref(free), ctypes.byref(total))
    return Device(name=name.decode("utf-8", "replace"), free_bytes=free.value, total_bytes=total.value)


def _function(name: str, returns: Any, *takes: Any) -> Any:
    function = getattr(lib._lib, name)  # noqa: SLF001 - the only handle there is
    function.restype, function.argtypes = returns, takes
    return function
