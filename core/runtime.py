"""The process before it trains: one thread, MKL's fixed rounding, no random hashes.

These variables are read when Python and torch start, so they are set before either: the console
script starts itself again with them, worker processes inherit them. This module imports neither
torch nor numpy.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

# MKL_CBWR=AUTO: without it MKL rounds by the alignment of a matrix in memory, and equal runs
# differ. One thread: the number of threads changes the order of sums, and with it the weights.
PINNED = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_CBWR": "AUTO",
    "PYTHONHASHSEED": "0",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}


def is_pinned() -> bool:
    """Return whether this process started with these variables set."""
    set_now = all(os.environ.get(name) == value for name, value in PINNED.items())
    return set_now and not sys.flags.hash_randomization


def restart_pinned() -> None:
    """Start this program again with the variables set; return only if they are already.

    It takes as long as starting Python, some 20 ms.
    """
    if is_pinned() or "PARIBUS_RESTARTED" in os.environ:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    environment = os.environ | PINNED | {"PARIBUS_RESTARTED": "1"}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def claim_process() -> None:
    """Declare that this process is the console script's, not a user's: speed-ups may change it."""
    global _claimed
    _claimed = True


def is_claimed() -> bool:
    """Return whether this process is the console script's."""
    return _claimed


_claimed = False


@contextmanager
def pinned_environment(more: Mapping[str, str] | None = None) -> Iterator[None]:
    """Set these variables, and `more`, for processes that start in the block; then restore them."""
    wanted = PINNED | dict(more or {})
    before = {name: os.environ[name] for name in wanted if name in os.environ}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name in wanted:
            os.environ.pop(name, None)
        os.environ.update(before)


def settle() -> dict[str, object]:
    """Put torch into the one mode that training uses, and return the mode that it is really in.

    Returns:
        ``threads``, ``pinned``, and ``aligned``: whether a matrix product gives the same bits
        wherever in memory its output lies.
    """
    import torch

    torch.set_num_threads(1)
    if torch.get_num_interop_threads() != 1:
        with suppress(RuntimeError):  # parallel work began before; such a process is not pinned
            torch.set_num_interop_threads(1)
    torch.set_default_dtype(torch.float32)
    torch.set_float32_matmul_precision("highest")
    return {"threads": torch.get_num_threads(), "pinned": is_pinned(), "aligned": _aligned()}


def _aligned() -> bool:
    """Return whether a product's bits do not depend on where in memory its output lies."""
    import torch

    generator = torch.Generator().manual_seed(0)
    left = torch.randn(1, 64, 128, generator=generator)
    right = torch.randn(1, 128, 10, generator=generator)
    room = torch.empty(640 + 4)
    outputs = []
    for offset in range(4):
        place = room[offset : offset + 640].view(1, 64, 10)
        outputs.append(torch.bmm(left, right, out=place).clone())
    return all(torch.equal(outputs[0], other) for other in outputs[1:])
