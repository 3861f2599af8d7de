import gc
import os
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True, scope="module")
def _half_of_the_cores() -> Iterator[None]:
    """Threads that wait for a core another process holds spin, and two are then slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // 2))
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _free_models() -> Iterator[None]:
    """Let go of a test's models before the next one builds its own: the largest take gigabytes."""
    yield
    gc.collect()
