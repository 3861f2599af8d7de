from pathlib import Path

import numpy as np
import pytest

from crossmodal.clip.quality import (
    Counts,
    Quality,
    Recall,
    Spread,
    kept_neighbours,
    read_quality,
    recall_at,
    spread_of,
    write_quality,
)
from crossmodal.errors import ConfigurationError
from crossmodal.records import Embeddings


def turned(*degrees: float) -> Embeddings:
    """Unit vectors of the plane at these angles."""
    angles = np.radians(np.array(degrees, np.float64))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_spread_of_cosines_is_that_of_the_angles() -> None:
    spread = spread_of(turned(*([0] * 99), 60), turned(*([0] * 100)))
    assert spread.least == pytest.approx(0.5, abs=1e-6)
    assert spread.p1 == pytest.approx(1 - 0.5 * 0.01, abs=1e-6)
    assert (spread.p5, spread.p50) == (1.0, 1.0)


def test_numbers_that_are_not_finite_are_the_worst() -> None:
    assert spread_of(np.array([[np.nan, 0.0]], np.float32), turned(0)) == Spread(-1.0, -1.0, -1.0, -1.0)


def test_neighbours_that_change_places_among_the_ten_stay_and_others_do_not() -> None:
    queries, items = turned(0), turned(*range(1, 21))
    assert kept_neighbours((queries, items), (queries, items)) == 1.0
    assert kept_neighbours((queries, items), (turned(2), items)) == 1.0
    assert kept_neighbours((queries, items), (turned(20.5), items)) == 0.0
    assert kept_neighbours((queries, items), (turned(8.1), items)) == 0.7


def test_recall_counts_the_first_of_a_captions_pictures() -> None:
    pictures, owners = turned(0, 10, 20, 30, 40, 50), np.array([0, 1, 2, 2, 1, 0])
    one, five, ten = recall_at((turned(0, 10, 20), pictures), (turned(24, 10, 40), pictures), owners)
    assert one == Recall(1, 1.0, round(1 / 3, 4))
    assert five == Recall(5, 1.0, 1.0)
    assert ten == Recall(10, 1.0, 1.0)


def test_a_report_is_read_as_it_was_written(tmp_path: Path) -> None:
    spread = Spread(0.98, 0.991, 0.995, 0.999)
    quality = Quality(
        calibrated_on=Counts(300, 300),
        held_out=Counts(200, 250),
        pictures=spread,
        texts=spread,
        neighbours=0.97,
        captions=40,
        recall=(Recall(1, 0.5, 0.49),),
    )
    write_quality(tmp_path / "report.json", quality)
    assert read_quality(tmp_path / "report.json") == quality


@pytest.mark.parametrize("content", [None, "{", "{}"])
def test_a_report_that_cannot_be_read_is_said(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"report\.json cannot be read"):
        read_quality(tmp_path / "report.json")
