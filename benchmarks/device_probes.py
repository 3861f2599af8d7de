"""What a device does at best: matrix products, copies, JPEGs; and how fast something repeats on it."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

MIB = 1 << 20


def synchronise(device: str) -> None:
    """Wait until everything that was queued on ``device`` is done."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def per_second(work: Callable[[], object], *, device: str, seconds: float, callers: int = 1) -> float:
    """Times a second that ``work`` is done, by ``callers`` threads for ``seconds``; it was done twice before."""
    for _ in range(2):
        work()
    synchronise(device)
    began = time.perf_counter()
    until = began + seconds

    def repeat() -> int:
        done = 0
        while time.perf_counter() < until:
            # Some at a time, so that the device's queue is never empty; unread results would otherwise pile up.
            for _ in range(8):
                work()
            done += 8
            synchronise(device)
        return done

    if callers == 1:
        done = repeat()
    else:
        with ThreadPoolExecutor(callers) as pool:
            done = sum(pool.map(lambda _: repeat(), range(callers)))
    return done / (time.perf_counter() - began)


def matrix_peak(device: str, dtype: torch.dtype, *, side: int, seconds: float) -> float:
    """Operations a second in the product of two square matrices: the most that any model could get."""
    with torch.inference_mode():
        left, right = (torch.randn(side, side, device=device, dtype=torch.float32).to(dtype) for _ in range(2))
        out = torch.empty(side, side, device=device, dtype=dtype)
        return 2 * side**3 * per_second(lambda: torch.mm(left, right, out=out), device=device, seconds=seconds)


def copy_rates(device: str, *, mib: int, seconds: float) -> dict[str, float]:
    """Bytes a second to the device and back, from memory as it comes and, on CUDA, from pinned memory."""
    count = mib * MIB
    there = torch.empty(count, dtype=torch.uint8, device=device)
    kinds = {"pageable": torch.zeros(count, dtype=torch.uint8)}
    if device.startswith("cuda"):
        kinds["pinned"] = torch.zeros(count, dtype=torch.uint8, pin_memory=True)
    rates = {}
    for kind, here in kinds.items():
        for way, target, source in (("to the device", there, here), ("from the device", here, there)):
            times = per_second(
                lambda target=target, source=source: target.copy_(source, non_blocking=True),  # type: ignore[misc]  # bound now
                device=device,
                seconds=seconds,
            )
            rates[f"{kind} {way}"] = count * times
    return rates


def jpegs_decoded(content: bytes, device: str, *, batch: int, seconds: float) -> float:
    """JPEGs a second that torchvision decodes on ``device``, in batches. RuntimeError where it cannot."""
    from torchvision.io import ImageReadMode, decode_jpeg

    encoded = [torch.frombuffer(bytearray(content), dtype=torch.uint8) for _ in range(batch)]
    return batch * per_second(
        lambda: decode_jpeg(encoded, mode=ImageReadMode.RGB, device=device), device=device, seconds=seconds
    )
