"""The memory that models may take: the machine's, or what a container's limit leaves of it. Asked by the router."""

import psutil

from aiadmin_core.memory import Memory, container_memory


def machine_memory() -> Memory | None:
    """As it stands; None where the system cannot be asked (at the limit of open files, for one)."""
    try:
        machine = psutil.virtual_memory()
    except (psutil.Error, OSError):
        return None
    container = container_memory()
    if container is None:
        return Memory(total=machine.total, available=machine.available)
    return Memory(total=min(machine.total, container.total), available=min(machine.available, container.available))
