"""The benchmark of GPUs: what needs none, and all of its code in small on the CPU."""

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from benchmarks import gpu
from benchmarks.device_probes import matrix_peak, per_second
from benchmarks.flops import image_flops, text_flops
from tests.unit.clip.model_folders import write_folder


def test_a_picture_of_vit_b_32_takes_nine_billion_operations() -> None:
    config: dict[str, Any] = open_clip.get_model_config("ViT-B-32")
    assert image_flops(config) == pytest.approx(8.82e9, rel=0.005)
    assert text_flops(config, 77) == pytest.approx(5.96e9, rel=0.005)
    assert text_flops(config, 8) == pytest.approx(text_flops(config, 77) * 8 / 77, rel=0.03)  # type: ignore[operator]  # not None


def test_operations_are_those_of_the_linear_layers_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    config: dict[str, Any] = open_clip.get_model_config("ViT-B-32")
    with torch.device("meta"):
        model = open_clip.model.CLIP(**config).eval()
        model.visual.transformer.train()  # keeps attention from its fused path, which is not counted
        with FlopCounterMode(display=False) as counter:
            model.encode_image(torch.empty(1, 3, 224, 224))
    assert image_flops(config) == pytest.approx(counter.get_total_flops(), rel=0.01)


@pytest.mark.parametrize("name", ["RN50", "ViT-B-16-SigLIP", "vit_medium_patch16_gap_256"])
def test_towers_of_other_makes_are_not_counted(name: str) -> None:
    assert image_flops(open_clip.get_model_config(name)) is None


def test_texts_of_hugging_face_towers_are_not_counted() -> None:
    assert text_flops(open_clip.get_model_config("roberta-ViT-B-32"), 77) is None


def test_what_binds_is_the_slowest() -> None:
    assert gpu.what_binds({"decoding": 200.0, "the tower": 5000.0, "copying": 1000.0}) == (
        "decoding binds at 200 pictures/s; above it: the tower 25.0x, copying 5.0x"
    )


def test_repetitions_of_all_callers_are_counted() -> None:
    done: list[int] = []
    rate = per_second(lambda: done.append(1), device="cpu", seconds=0.05, callers=2)
    assert 0 < rate <= len(done) / 0.05


def test_the_peak_counts_two_operations_for_each_product() -> None:
    assert matrix_peak("cpu", torch.float32, side=32, seconds=0.01) > 2 * 32**3


def test_everything_runs_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = write_folder(tmp_path / "small"), tmp_path / "results" / "gpu.json"
    assert gpu.main(["--device", "cpu", "--model", f"local-dir:{folder}", "--workers", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    kept = json.loads(out.read_text())
    assert kept["binds"] in printed
    assert " binds at " in kept["binds"]
    rows = {row["what"]: row for row in kept["rows"]}
    for what in (
        "copies, pageable to the device",
        "pictures on the device, batch 4",
        "pictures, batch 4, no graphs, 2 in flight",
        "texts of 16 tokens, batch 1, no graphs, 1 in flight",
        "JPEGs to vectors, fast, 1 processes",
        "JPEGs of 640 x 480 decoded by the device, batch 4, not resized",
    ):
        assert rows[what]["value"] > 0, what
    assert rows["pictures on the device, batch 4"]["share_of_peak"] > 0
    assert rows["copies, pageable to the device"]["share_of_peak"] is None


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_without_a_device_it_says_so_and_ends_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "no CUDA device on this machine; --device cpu tries the code in small\n"
