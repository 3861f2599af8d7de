"""From pairs to groups."""

from collections.abc import Iterable

from crossmodal.search.duplicates.wanted import Linkage

Edge = tuple[int, int]


def grouped(edges: Iterable[Edge], linkage: Linkage) -> list[list[int]]:
    """Groups of two or more nodes, each rising; ``edges`` come best first.

    Connected: all that a chain of edges joins. Complete: edges are taken in their order, and two groups become one only
    if each node of the one has an edge to each of the other, so that every two of a group are joined. A node is in one
    group at most.
    """
    listed = list(edges)
    joined: dict[int, set[int]] = {}
    for left, right in listed:
        joined.setdefault(left, set()).add(right)
        joined.setdefault(right, set()).add(left)
    group_of = {node: {node} for node in joined}
    for left, right in listed:
        ours, theirs = group_of[left], group_of[right]
        if ours is theirs or (linkage is Linkage.COMPLETE and not all(theirs <= joined[node] for node in ours)):
            continue
        if len(ours) < len(theirs):
            ours, theirs = theirs, ours
        ours |= theirs
        for node in theirs:
            group_of[node] = ours
    found = {id(group): group for group in group_of.values() if len(group) > 1}
    return sorted(sorted(group) for group in found.values())
