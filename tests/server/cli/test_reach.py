"""What `run` fetches by itself, and what it asks about first."""

import pytest

from aiadmin_server.cli._pulling import LARGE_BYTES, is_large
from aiadmin_server.cli._reach import names_a_host
from aiadmin_server.forecast import Forecast


@pytest.mark.parametrize(
    "name", ["localhost:5000/team/model", "hf.co/org/repo:Q4_0", "registry.example.org/m", "[::1]:5000/m"]
)
def test_a_name_with_a_host_says_where_a_model_comes_from(name):
    assert names_a_host(name)


@pytest.mark.parametrize(
    "name", ["smollm2", "team/model:v1.2", "llama3.2", "./model", "../m.gguf", "/m.gguf", "~/m.gguf"]
)
def test_other_names_do_not(name):
    assert not names_a_host(name)


@pytest.mark.parametrize(
    ("download", "needed", "large"),
    [
        (LARGE_BYTES, 1, True),
        (LARGE_BYTES - 1, 1, False),
        (100, 10**12, True),  # it would not even fit into memory
        (0, 10**12, False),  # nothing is to be fetched
    ],
)
def test_what_takes_long_or_does_not_fit_is_asked_about(download, needed, large):
    found = Forecast(name="m", download_bytes=download, free_bytes=1, needed_bytes=needed, memory_bytes=10**11)
    assert is_large(found) == large
