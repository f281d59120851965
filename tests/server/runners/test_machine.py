"""What is remembered of crashes."""

import json

from aiadmin_server.runners import machine


def crash(backend="llamacpp", build="b1", processor="p1", reason="was killed by SIGSEGV"):
    return machine.Crash(backend=backend, build=build, processor=processor, reason=reason, at=1.0)


def test_a_crash_is_found_for_its_build_and_processor_only():
    known = machine.Machine(crashes=(crash(),))
    assert machine.find(known, backend="llamacpp", build="b1", processor="p1") == crash()
    assert machine.find(known, backend="llamacpp", build="b2", processor="p1") is None
    assert machine.find(known, backend="llamacpp", build="b1", processor="p2") is None
    assert machine.find(known, backend="mlx", build="b1", processor="p1") is None


def test_a_new_build_replaces_the_old_one():
    known = machine.Machine(crashes=(crash(), crash(backend="mlx"), crash(processor="p2")))
    assert machine.with_crash(known, crash(build="b2")).crashes == (
        crash(backend="mlx"),
        crash(processor="p2"),
        crash(build="b2"),
    )


def test_what_is_remembered_is_read_again(tmp_path):
    state = tmp_path / "state"
    assert machine.read(state) == machine.Machine()
    machine.remember(state, backend="llamacpp", build="b1", reason="was killed by SIGSEGV")
    found = machine.find(machine.read(state), backend="llamacpp", build="b1", processor=machine.processor())
    assert found is not None
    assert found.reason == "was killed by SIGSEGV"
    assert [path.name for path in state.iterdir()] == ["machine.json"], "no temporary file is left"
    assert json.loads((state / "machine.json").read_text())["crashes"][0]["build"] == "b1"


def test_a_build_without_a_name_is_not_remembered(tmp_path):
    machine.remember(tmp_path, backend="echo", build="", reason="was killed by SIGSEGV")
    assert machine.read(tmp_path) == machine.Machine()


def test_a_damaged_file_is_ignored_and_replaced(tmp_path):
    (tmp_path / "machine.json").write_text('{"crashes": [{"backend": 5')
    assert machine.read(tmp_path) == machine.Machine()
    machine.remember(tmp_path, backend="llamacpp", build="b1", reason="was killed by SIGSEGV")
    assert len(machine.read(tmp_path).crashes) == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path):
    (tmp_path / "file").write_text("")
    machine.remember(tmp_path / "file", backend="llamacpp", build="b1", reason="was killed by SIGSEGV")


def test_the_processor_has_one_name():
    assert machine.processor() == machine.processor() != ""
