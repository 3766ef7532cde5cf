"""The device and the memory a node computes with: torch where there is one, batches halved until they fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from physlab_mcp.physics.batches import first_batch, run_batches

if TYPE_CHECKING:
    from physlab_mcp.nodes.io import NodeIO

_TORCH_NAMES = {"cuda": "cuda", "hip": "cuda", "mps": "mps", "xpu": "xpu"}
SINGLE_ONLY = frozenset({"mps"})  # devices without float64


class Accelerator:
    """One device of torch."""

    def __init__(self, torch: Any, name: str, device: str) -> None:
        self.torch = torch
        self.name = name
        self.single = device in SINGLE_ONLY

    def put(self, array: Any) -> Any:
        """A numpy array on the device, in the widest type that it has."""
        tensor = self.torch.as_tensor(array)
        if self.single:
            tensor = tensor.to(self.torch.complex64 if tensor.is_complex() else self.torch.float32)
        return tensor.to(self.name)

    def free_bytes(self) -> float | None:
        """Free memory of the device; None where it does not tell."""
        try:
            return float(getattr(self.torch, self.name).mem_get_info()[0])
        except (AttributeError, RuntimeError):
            return None

    def release(self) -> None:
        """Give cached memory back to the device."""
        module = getattr(self.torch, self.name, None)
        if module is not None and hasattr(module, "empty_cache"):
            module.empty_cache()


def accelerator(io: NodeIO) -> Accelerator | None:
    """What the node's device computes with; None is the CPU.

    Where the device cannot be used after all, that is a warning in the result's meta and `io.device` becomes `cpu`.
    """
    name = _TORCH_NAMES.get(io.device)
    if name is None:
        return None
    try:
        import torch  # pyright: ignore[reportMissingImports] - an extra that nobody needs

        torch.zeros(1, device=name)
    except Exception as error:  # torch is missing, was built without it, or the driver refuses
        io.warn(f"{io.device} could not be used ({type(error).__name__}: {error}); computed on the CPU.")
        io.device = "cpu"
        return None
    return Accelerator(torch, name, io.device)


def free_memory() -> float:
    """Memory that the machine has to give, in bytes; a limit of this process shows when a batch does not fit."""
    import psutil

    return float(psutil.virtual_memory().available)


def in_batches(
    io: NodeIO,
    items: int,
    bytes_each: float,
    compute: Callable[[int, int], None],
    *,
    what: str,
    device: Accelerator | None = None,
) -> None:
    """Call `compute(start, stop)` over all items, in batches that fit the memory of the device or of the process.

    Every halving is a warning in the result's meta.
    """

    def halved(old: int, new: int) -> None:
        where = io.device if device is not None else "memory"
        io.warn(f"Out of memory ({where}): batches of {what} halved from {old} to {new}.")

    free = device.free_bytes() if device is not None else free_memory()
    run_batches(
        items,
        first_batch(items, bytes_each, free),
        compute,
        on_halved=halved,
        release=device.release if device is not None else lambda: None,
    )
