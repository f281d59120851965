"""What a container leaves of the machine's memory."""

from aiadmin_core.memory import Memory, container_memory


def test_a_containers_limit_counts_without_its_file_cache(tmp_path):
    assert container_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 500\nactive_file 200\n")
    assert container_memory(tmp_path) == Memory(total=1000, available=800)
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) is None
