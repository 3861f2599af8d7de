import pytest

from tools.tiny_clip.eval_duplicates import COPIES, pairs_of, samples, scored, table


def test_samples_are_the_same_for_a_seed_and_others_for_another() -> None:
    made = samples(5, 2, same_layout=True)
    assert [each.kind for each in made[:8]] == ["original", *COPIES, "anew", "one fact", "same layout"]
    assert len({each.id for each in made}) == len({each.content for each in made}) == 16
    assert samples(5, 2, same_layout=True) == made
    assert samples(6, 2)[0].content != made[0].content


def test_scores_count_pairs() -> None:
    true = pairs_of([["a", "b", "c"]])
    assert true == {("a", "b"), ("a", "c"), ("b", "c")}
    score = scored(pairs_of([["b", "a"], ["c", "d"]]), true)
    assert score.precision == 0.5
    assert score.recall == pytest.approx(1 / 3)
    assert score.f1 == pytest.approx(0.4)
    assert scored(set(), true).f1 == 0


def test_a_table_tells_the_kinds_apart() -> None:
    shown = samples(5, 1)
    every = {each.kind: each.id for each in shown}
    found = pairs_of([[every[kind] for kind in ("original", *COPIES) if kind != "cropped"] + [every["anew"]]])
    scores = table(shown, found)
    assert (scores["all"].precision, scores["all"].recall) == (0.6, 0.6)
    assert scores["cropped"].f1 == 0
    assert (scores["resized"].precision, scores["resized"].recall) == (0.75, 0.75)
