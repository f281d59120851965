"""What a container leaves of the machine's memory."""

from aiadmin_core.memory import Memory, container_memory, within


def test_a_containers_limit_counts_without_its_file_cache(tmp_path):
    assert container_memory(tmp_path) is None
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 500\nactive_file 200\n")
    assert container_memory(tmp_path) == Memory(total=1000, available=800)
    (tmp_path / "memory.max").write_text("max\n")
    assert container_memory(tmp_path) is None


def test_a_bound_of_ones_own_counts_where_it_is_the_lower_one():
    machine = Memory(total=1000, available=300)
    assert within(machine, 0) == machine
    assert within(machine, 500) == Memory(total=500, available=300)
    assert within(machine, 200) == Memory(total=200, available=200)
    assert within(None, 200) == Memory(total=200, available=200)
