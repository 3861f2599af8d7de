from typing import Any

import pytest

from crossmodal.clip.preprocessing import preprocessing_of
from crossmodal.errors import ConfigurationError
from crossmodal.records import Preprocessing
from tests.unit.clip.model_folders import PREPROCESSING


def test_every_field_is_read() -> None:
    config = {
        "size": (48, 48), "mode": "RGB", "mean": [0.1, 0.2, 0.3], "std": (0.4, 0.5, 0.6),
        "interpolation": "bilinear", "resize_mode": "longest", "fill_color": 7,
    }  # fmt: skip
    assert preprocessing_of(config, name="m") == Preprocessing(
        size=48,
        interpolation="bilinear",
        resize_mode="longest",
        mean=(0.1, 0.2, 0.3),
        std=(0.4, 0.5, 0.6),
        fill_color=7,
    )


def test_openclips_defaults() -> None:
    config = {"size": [32], "mean": 0.5, "std": 0.25, "interpolation": None, "resize_mode": None, "fill_color": None}
    assert preprocessing_of(config, name="m") == Preprocessing(
        size=32, interpolation="bicubic", resize_mode="shortest", mean=(0.5,) * 3, std=(0.25,) * 3
    )


def test_random_interpolation_is_bicubic_outside_training() -> None:
    assert preprocessing_of({**PREPROCESSING, "interpolation": "random"}, name="m").interpolation == "bicubic"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": (224, 336)}, "224 x 336"),
        ({"interpolation": "nearest"}, "'nearest'"),
        ({"resize_mode": "stretch"}, "'stretch'"),
        ({"mean": [0.5]}, "1 values"),
        ({"std": [0.5, 0.5, 0.0]}, "above 0"),
    ],
)
def test_what_cannot_be_prepared_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        preprocessing_of({**PREPROCESSING, **change}, name="mine")
    assert refused.value.detail.startswith("Model mine: ")
