"""What llama.cpp can compute on here."""

from aiadmin_llamacpp.native.devices import all_devices, find_devices

_PROCESSOR = 0


def test_the_processor_has_the_machines_memory():
    processors = [device for kind, device in all_devices() if kind == _PROCESSOR]
    assert processors
    assert all(0 < one.free_bytes <= one.total_bytes for one in processors)
    assert all(one.name for one in processors)


def test_only_what_layers_can_be_put_on_is_offered():
    offered = find_devices()
    assert all(kind != _PROCESSOR for kind, device in all_devices() if device in offered)
