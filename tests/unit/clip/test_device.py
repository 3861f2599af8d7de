import pytest
import torch

from crossmodal.clip.device import choose_device, choose_precision, set_threads, torch_dtype
from crossmodal.errors import ConfigurationError

CUDA_DEVICES = torch.cuda.device_count()


def test_auto_takes_a_gpu_where_there_is_one() -> None:
    assert choose_device("auto") == ("cuda:0" if CUDA_DEVICES else "cpu")


def test_the_processor_can_always_be_asked_for() -> None:
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("wanted", ["", "gpu", "cpu:0", "cuda:", "cuda:x", "cuda:-1", "mps", "CPU"])
def test_names_of_no_device_are_refused(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match="auto, cpu, cuda or cuda:N"):
        choose_device(wanted)


def test_a_gpu_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=f"sees {CUDA_DEVICES} CUDA devices"):
        choose_device(f"cuda:{CUDA_DEVICES}")


def test_auto_takes_bf16_where_the_processor_computes_it() -> None:
    capabilities = torch.cpu.get_capabilities()
    native = capabilities.get("avx512_bf16", False) or capabilities.get("amx_bf16", False)
    assert choose_precision("auto", "cpu") == ("bf16" if native else "fp32")


@pytest.mark.parametrize(
    ("name", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_a_precision_asked_for_is_kept(name: str, dtype: torch.dtype) -> None:
    chosen = choose_precision(name, "cpu")
    assert chosen == name
    assert torch_dtype(chosen) is dtype


def test_other_precisions_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"'int4' is not known; it is auto, fp32, bf16, fp16\.$"):
        choose_precision("int4", "cpu")
    with pytest.raises(ConfigurationError, match="PyTorch does not run models in it"):
        choose_precision("int8", "cpu")


def test_threads() -> None:
    before = torch.get_num_threads()
    set_threads(None)
    assert torch.get_num_threads() == before
    set_threads(1)
    assert torch.get_num_threads() == 1
    set_threads(before)
