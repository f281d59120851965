"""Groups that bound runners' memory, in a tree of files like the kernel's."""

import pytest

from aiadmin_server.runners.control_groups import SERVER, ControlGroups, bounded, find, group_of, may_move


@pytest.fixture
def tree(tmp_path):
    """What a service with `Delegate=memory` finds; its process is 7."""
    folder = tmp_path / "root" / "user.slice" / "aiadmin.service"
    folder.mkdir(parents=True)
    for name, text in {"cgroup.controllers": "cpu memory pids\n", "cgroup.procs": "7\n9\n"}.items():
        (folder / name).write_text(text)
    (tmp_path / "membership").write_text("0::/user.slice/aiadmin.service\n")
    return folder


def found(tree, own=(7, 9)):
    root = tree.parents[1]
    return find(own, root, root.parent / "membership")


def test_the_server_goes_below_its_group_and_hands_memory_down(tree):
    assert isinstance(found(tree), ControlGroups)

    assert (tree / "cgroup.subtree_control").read_text() == "+memory"
    assert (tree / SERVER / "cgroup.procs").read_text() == "9", "the kernel adds each that is written"


def test_a_runner_gets_a_group_with_its_bound(tree):
    group = bounded(4711, 5 << 20, found(tree))

    folder = tree / "aiadmin-runner-4711"
    assert (folder / "memory.max").read_text() == str(5 << 20)
    assert (folder / "memory.swap.max").read_text() == "0"
    assert (folder / "memory.oom.group").read_text() == "1"
    assert (folder / "cgroup.procs").read_text() == "4711"

    for file in folder.iterdir():  # in the kernel's tree they go with the folder
        file.unlink()
    group.remove()
    assert not folder.exists()


def test_where_somebody_else_is_in_the_group_nothing_is_moved(tree):
    """A terminal's group has its shell, and whatever else runs there."""
    assert found(tree, own=(7,)) is None
    assert not (tree / SERVER).exists()
    assert not (tree / "cgroup.subtree_control").exists()


@pytest.mark.parametrize("membership", ["", "4:memory:/x\n", "0::/\n", "0::/elsewhere\n", "nonsense"])
def test_without_a_group_of_our_own_there_are_none(tree, membership):
    (tree.parents[2] / "membership").write_text(membership)

    assert found(tree) is None


def test_without_the_memory_controller_there_are_none(tree):
    (tree / "cgroup.controllers").write_text("cpu pids\n")

    assert found(tree) is None


def test_a_kernel_that_will_not_leaves_the_runners_own_bound(tree):
    groups = found(tree)
    (tree / "aiadmin-runner-4711").write_text("in the way")

    assert bounded(4711, 1 << 20, groups) is None
    assert bounded(4711, 1 << 20, None) is None


def test_the_group_is_that_of_version_two():
    both = "9:name=systemd:/\n4:memory:/old\n0::/user.slice/a:b\n"
    assert group_of(both) == "/user.slice/a:b"
    assert group_of("4:memory:/old\n") is None


def test_only_ones_own_are_moved():
    assert may_move([1, 2], {1, 2, 3})
    assert not may_move([1, 4], {1, 2, 3})
    assert may_move([], {1})
