"""`python -m aiadmin_llamacpp.native.quantizing SOURCE TARGET TYPE`: llama.cpp's own quantization, in a process that
ends with it. Run by `quantizing`.

TYPE is a `llama_ftype` of llama.h. A line on stdout for each tensor: how many are done, and of how many. What llama.cpp
says of a failure goes to stderr.
"""

import ctypes
import os
import re
import sys

from llama_cpp import llama_cpp as lib

from . import log

_TENSOR = re.compile(r"\[\s*(\d+)/\s*(\d+)\]")


@lib.llama_log_callback  # type: ignore[untyped-decorator]  # llama_cpp carries no types for it
def _on_log(level: int, text: bytes, _user_data: ctypes.c_void_p) -> None:
    line = text.decode("utf-8", "replace")
    if found := _TENSOR.match(line):
        try:
            sys.stdout.write(f"{found[1]} {found[2]}\n")
            sys.stdout.flush()
        except OSError:  # whoever asked for it is gone
            os._exit(1)
    elif level >= log.ERROR:
        sys.stderr.write(line)


def main(source: str, target: str, ftype: int) -> int:
    """The exit status."""
    lib.llama_log_set(_on_log, ctypes.c_void_p(0))
    lib.llama_backend_init()
    params = lib.llama_model_quantize_default_params()
    params.ftype = ftype
    return int(lib.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)) != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
