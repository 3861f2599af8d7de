from crossmodal.search.duplicates import Linkage
from crossmodal.search.duplicates.grouping import grouped

CHAIN = [(1, 2), (2, 3), (3, 4)]


def test_a_chain_is_one_group_if_connected_and_pairs_if_complete() -> None:
    assert grouped(CHAIN, Linkage.CONNECTED) == [[1, 2, 3, 4]]
    assert grouped(CHAIN, Linkage.COMPLETE) == [[1, 2], [3, 4]]


def test_complete_groups_are_those_whose_every_two_are_joined() -> None:
    triangle = [(0, 1), (1, 2), (0, 2)]
    assert grouped([*triangle, (2, 3)], Linkage.COMPLETE) == [[0, 1, 2]]
    assert grouped([(2, 3), *triangle], Linkage.COMPLETE) == [[0, 1], [2, 3]]  # the best edge comes first
    assert grouped([*triangle, (2, 3)], Linkage.CONNECTED) == [[0, 1, 2, 3]]


def test_two_groups_become_one_when_all_is_joined() -> None:
    square = [(0, 1), (2, 3), (0, 2), (0, 3), (1, 2), (1, 3)]
    assert grouped(square, Linkage.COMPLETE) == [[0, 1, 2, 3]]
    assert grouped(square[:-1], Linkage.COMPLETE) == [[0, 1], [2, 3]]


def test_no_edges_no_groups() -> None:
    for linkage in Linkage:
        assert grouped([], linkage) == []
