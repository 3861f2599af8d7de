from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from crossmodal.errors import ValidationFailed
from crossmodal.records import Embedding, Modality, PairStatistics
from crossmodal.search.fusion import LEAST_ALIKE, PENALTY_FROM, Aim, Part
from crossmodal.search.relevance import Calibration
from tests.builders import unit

IMAGE, TEXT = Modality.IMAGE, Modality.TEXT
TEXT_IMAGE = PairStatistics(midpoint=0.3, slope=40.0, mean=0.1, std=0.05)
IMAGE_IMAGE = PairStatistics(midpoint=0.8, slope=15.0, mean=0.4, std=0.1)
TEXT_TEXT = PairStatistics(midpoint=0.7, slope=12.0, mean=0.5, std=0.08)
CALIBRATION = Calibration({"text-image": TEXT_IMAGE, "image-image": IMAGE_IMAGE, "text-text": TEXT_TEXT})

unit_vectors = st.lists(st.floats(-1, 1, width=32), min_size=4, max_size=4).filter(lambda v: np.linalg.norm(v) > 0.1)


@dataclass(frozen=True)
class Judged:
    """What an aim makes of an item, and the same by the formula in the module's docstring, written out."""

    logit: float
    expected: float


def apart(part: Part, parts: list[Part]) -> Embedding:
    """Of an unwanted part what it has not in common with the wanted ones of its modality."""
    alike = [each for each in parts if each.weight > 0 and each.modality is part.modality]
    if part.weight >= 0 or not alike:
        return part.embedding
    mean = np.sum([each.weight * each.embedding for each in alike], axis=0)
    assume(np.linalg.norm(mean) > 1e-3)  # where it cancels out, rounding decides
    common = mean / np.linalg.norm(mean)
    rest = part.embedding - max(0.0, float(part.embedding @ common)) * common
    assume(abs(np.linalg.norm(rest) - 0.05) > 1e-3)  # likewise
    return part.embedding if np.linalg.norm(rest) < 0.05 else unit(*rest)


def spread(wanted: list[Part]) -> float:
    """Standard deviation of the sum: parts of one modality depend on each other by their cosine, at least one half."""
    variance = 0.0
    for place, one in enumerate(wanted):
        for other_place, other in enumerate(wanted):
            cosine = 1.0 if place == other_place else max(LEAST_ALIKE, float(one.embedding @ other.embedding))
            variance += one.weight * other.weight * (cosine if one.modality is other.modality else 0.0)
    return float(np.sqrt(variance))


def wanted_logit(aim: Aim, cosine: float) -> float:
    return float(aim.wanted_logits(np.array([cosine]))[0])


def penalty(aim: Aim, item: Embedding) -> float:
    """What ``item`` loses, by its cosines with what is unwanted as a store would give them."""
    cosines = [[max(-1.0, min(1.0, float(unwanted @ item))) for unwanted in aim.unwanted]]
    return float(aim.penalties(np.array(cosines))[0])


def judge(parts: list[Part], target: Modality, item: Embedding) -> Judged:
    aim = Aim(parts, target, CALIBRATION)
    logit = wanted_logit(aim, float(aim.direction @ item)) - penalty(aim, item)
    pairs = [CALIBRATION.of(part.modality, target) for part in parts]
    standard = [
        (float(apart(part, parts) @ item) - pair.mean) / pair.std for part, pair in zip(parts, pairs, strict=True)
    ]
    wanted = [(part.weight, z, pair) for part, z, pair in zip(parts, standard, pairs, strict=True) if part.weight > 0]
    norm = spread([part for part in parts if part.weight > 0])
    total = sum(weight for weight, _, _ in wanted)
    evidence = sum(weight * z for weight, z, _ in wanted) / norm
    for part, z in zip(parts, standard, strict=True):
        if part.weight < 0:
            evidence -= -part.weight * max(0.0, z - PENALTY_FROM) / norm
    midpoint = sum(weight * (pair.midpoint - pair.mean) / pair.std for weight, _, pair in wanted) / total
    slope = sum(weight * pair.slope * pair.std for weight, _, pair in wanted) / total
    return Judged(logit, slope * (evidence - midpoint))


@given(unit_vectors, unit_vectors, st.floats(0.1, 10))
def test_one_part_is_the_plain_query_whatever_its_weight(query: list[float], item: list[float], weight: float) -> None:
    aim = Aim([Part(unit(*query), TEXT, weight)], IMAGE, CALIBRATION)
    np.testing.assert_allclose(aim.direction, unit(*query), atol=1e-6)
    cosine = float(unit(*query) @ unit(*item))
    assert wanted_logit(aim, cosine) == pytest.approx(40.0 * (cosine - 0.3), abs=1e-3)


@given(st.lists(st.tuples(unit_vectors, st.sampled_from(Modality), st.floats(-5, 5)), min_size=1, max_size=5),
       unit_vectors, st.sampled_from(Modality))  # fmt: skip
def test_the_logit_is_the_documented_formula(
    given_parts: list[tuple[list[float], Modality, float]], item: list[float], target: Modality
) -> None:
    parts = [Part(unit(*vector), modality, weight) for vector, modality, weight in given_parts]
    wanted = [part for part in parts if part.weight > 0]
    if not wanted:
        with pytest.raises(ValidationFailed, match="nothing to look for"):
            Aim(parts, target, CALIBRATION)
        return
    together = np.sum([p.weight / CALIBRATION.of(p.modality, target).std * p.embedding for p in wanted], axis=0)
    if np.linalg.norm(together) < 1e-2:
        return
    judged = judge(parts, target, unit(*item))
    assert judged.logit == pytest.approx(judged.expected, rel=1e-3, abs=1e-2)


def test_parts_of_wide_and_narrow_cosines_count_alike() -> None:
    # In raw cosines the text's 0.2 above nothing would drown in the picture's 0.4.
    text, image = Part(unit(1, 0, 0), TEXT), Part(unit(0, 1, 0), IMAGE)
    aim = Aim([text, image], IMAGE, CALIBRATION)
    assert aim.direction[0] / aim.direction[1] == pytest.approx(IMAGE_IMAGE.std / TEXT_IMAGE.std)


def test_what_is_unwanted_beyond_measure_stays_a_number() -> None:
    aim = Aim([Part(unit(1, 0, 0), TEXT, 5e-324), Part(unit(0, 1, 0), TEXT, -10)], IMAGE, CALIBRATION)
    assert np.isfinite(aim.avoiding()).all()
    assert np.isfinite(penalty(aim, unit(0, 1, 0)))
    assert penalty(aim, unit(0, 1, 0)) > 1e6
    assert penalty(aim, unit(1, 0, 0)) == 0


def test_two_pieces_of_evidence_are_worth_more_than_one() -> None:
    # Each 3 standard deviations above nothing: of one modality (2 * 3) / sqrt(2 + 2 / 2) together, of two 6 / sqrt(2).
    item = unit(0.25, 0.25, np.sqrt(1 - 2 * 0.0625))
    midpoint, slope = (0.3 - 0.1) / 0.05, 40.0 * 0.05
    one, two = Part(unit(1, 0, 0), TEXT), Part(unit(0, 1, 0), TEXT)
    for parts, evidence in (([one], 3.0), ([one, two], 6 / 3**0.5), ([one, one], 3.0), ([one] * 10, 3.0)):
        aim = Aim(parts, IMAGE, CALIBRATION)
        logit = wanted_logit(aim, float(aim.direction @ item))
        assert logit == pytest.approx(slope * (evidence - midpoint), abs=1e-4)
    # cosine 0.7: 3 standard deviations above nothing for a picture
    apart = unit(0.25, 0.7, np.sqrt(1 - 0.0625 - 0.49))
    aim = Aim([one, Part(unit(0, 1, 0), IMAGE)], IMAGE, CALIBRATION)
    midpoint, slope = (midpoint + (0.8 - 0.4) / 0.1) / 2, (slope + 15.0 * 0.1) / 2
    logit = wanted_logit(aim, float(aim.direction @ apart))
    assert logit == pytest.approx(slope * (6 / 2**0.5 - midpoint), abs=1e-3)


@pytest.mark.parametrize("weight", [5e-324, 1e-300, 1e-9, 10.0])
def test_only_what_weights_are_to_each_other_counts(weight: float) -> None:
    parts = [Part(unit(1, 0, 0), TEXT, weight), Part(unit(0, 1, 0), IMAGE, weight), Part(unit(0, 0, 1), TEXT, -weight)]
    plain = [Part(part.embedding, part.modality, part.weight / weight) for part in parts]
    ours, same = Aim(parts, IMAGE, CALIBRATION), Aim(plain, IMAGE, CALIBRATION)
    np.testing.assert_allclose(ours.direction, same.direction, atol=1e-6)
    assert wanted_logit(ours, 0.7) == pytest.approx(wanted_logit(same, 0.7))
    assert penalty(ours, unit(0, 0, 1)) == pytest.approx(penalty(same, unit(0, 0, 1)))


def test_what_has_nothing_to_do_with_the_unwanted_loses_nothing() -> None:
    aim = Aim([Part(unit(1, 0, 0), TEXT), Part(unit(0, 1, 0), TEXT, -1)], IMAGE, CALIBRATION)
    assert aim.has_unwanted
    assert penalty(aim, unit(0.5, 0, 1)) == 0
    assert penalty(aim, unit(0.5, -1, 0)) == 0  # and its opposite gains nothing
    # cosine 0.6: z = (0.6 - 0.1) / 0.05 = 10, of which 9.5 count, times the slope of 2 for each standard deviation
    assert penalty(aim, unit(0.8, 0.6, 0)) == pytest.approx(19.0, abs=1e-3)


def test_what_the_unwanted_has_in_common_with_the_wanted_of_its_modality_does_not_count() -> None:
    liked, disliked = unit(1, 1, 0), unit(0, 1, 1)  # both have the second
    aim = Aim([Part(liked, IMAGE), Part(disliked, IMAGE, -1)], IMAGE, CALIBRATION)
    assert penalty(aim, unit(1, 1, 0)) == 0
    # What is apart is (0, 1, 1) less its half of (1, 1, 0): (-0.5, 0.5, 1) up to its length.
    cosine = float(unit(-0.5, 0.5, 1) @ unit(0, 0, 1))
    assert penalty(aim, unit(0, 0, 1)) == pytest.approx(1.5 * ((cosine - 0.4) / 0.1 - 0.5), abs=1e-3)
    # A text says what a picture shows: nothing is taken out of it.
    across = Aim([Part(liked, IMAGE), Part(disliked, TEXT, -1)], IMAGE, CALIBRATION)
    assert penalty(across, unit(0, 1, 0)) == pytest.approx(1.5 * ((0.5**0.5 - 0.1) / 0.05 - 0.5), abs=1e-3)
    # And of the same thing nothing else would be left.
    same = Aim([Part(liked, IMAGE), Part(liked, IMAGE, -1)], IMAGE, CALIBRATION)
    assert penalty(same, liked) == pytest.approx(1.5 * (6 - 0.5), abs=1e-3)


def test_a_direction_away_from_the_unwanted_finds_other_candidates() -> None:
    aim = Aim([Part(unit(1, 0, 0), TEXT), Part(unit(0, 1, 0), TEXT, -1)], IMAGE, CALIBRATION)
    np.testing.assert_allclose(aim.avoiding(), unit(1, -0.5, 0), atol=1e-6)
    np.testing.assert_allclose(aim.unwanted, [unit(0, 1, 0)], atol=1e-6)


def test_contributions_name_their_parts_and_add_up_to_the_evidence() -> None:
    parts = [Part(unit(1, 0, 0), TEXT, 2.0), Part(unit(0, 1, 0), IMAGE), Part(unit(0, 0, 1), TEXT, -0.5),
             Part(unit(1, 1, 1), TEXT, 0.0)]  # fmt: skip
    aim = Aim(parts, IMAGE, CALIBRATION)
    item = unit(0.5, 0.7, 0.4)
    found = aim.contributions(item)
    assert [each.part for each in found] == [0, 1, 2, 3]
    assert [each.score for each in found[:3]] == pytest.approx([float(p.embedding @ item) for p in parts[:3]], abs=1e-6)
    assert found[2].share < 0
    assert found[3].share == 0
    evidence = sum(each.share for each in found)
    logit = wanted_logit(aim, float(aim.direction @ item)) - penalty(aim, item)
    assert str(found[3].share) == "0.0"
    midpoint = (2 * (0.3 - 0.1) / 0.05 + (0.8 - 0.4) / 0.1) / 3
    slope = (2 * 40.0 * 0.05 + 15.0 * 0.1) / 3
    assert logit == pytest.approx(slope * (evidence - midpoint), abs=1e-3)


@pytest.mark.parametrize("weights", [(0.0,), (-1.0,), (-1.0, 0.0)])
def test_nothing_wanted_is_refused(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValidationFailed, match="nothing to look for"):
        Aim([Part(unit(1, 0), TEXT, weight) for weight in weights], IMAGE, CALIBRATION)


def test_parts_that_cancel_out_are_refused() -> None:
    with pytest.raises(ValidationFailed, match="cancel out"):
        Aim([Part(unit(1, 0), TEXT), Part(unit(-1, 0), TEXT)], IMAGE, CALIBRATION)
