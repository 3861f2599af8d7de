"""The course of a run, as it is written on a command line."""

import pytest

from loadtests.__main__ import main
from loadtests.autoscaling.phases import DEFAULT, MIX, Deed, Phase, arrivals, parse, starts


def test_what_is_written_is_what_is_done() -> None:
    phases = parse("1x25 4x0.5:update  2x20:kill")
    assert phases == [Phase(1, 25), Phase(4, 0.5, Deed.UPDATE), Phase(2, 20, Deed.KILL)]
    assert [str(phase) for phase in phases] == ["1x", "4x update", "2x kill"]
    assert starts(phases) == [0, 25, 25.5, 45.5]
    assert {phase.deed for phase in parse(DEFAULT)} == set(Deed)


@pytest.mark.parametrize(
    "text", ["", "1", "1x", "x5", "1x5:stop", "0x5", "1x0", "-1x5", "101x5", "1x3601", "1x5 " * 21]
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"phase|within"):
        parse(text)


def test_requests_come_at_the_rate_of_their_phase() -> None:
    found = list(arrivals(parse("1x40 4x40"), rate=10.0, seed=3))
    dues = [due for due, _ in found]
    assert dues == sorted(dues)
    assert sum(due < 40 for due in dues) == pytest.approx(400, rel=0.2)
    assert sum(due >= 40 for due in dues) == pytest.approx(1600, rel=0.1)
    assert dues[-1] < 80
    assert {asked.kind for _, asked in found} == set(MIX)
    assert all(asked.status == 200 for _, asked in found)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--phases", "1x5:burn"), "is no phase"),
        (("--rate", "0"), "--rate is above 0"),
        (("--speed", "0.5"), "--speed from 1"),
        (("--target", "0"), "--target is above 0"),
        (("--least", "9"), "--least from 1 to 4"),
    ],
)
def test_the_command_refuses_it_before_anything_starts(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["autoscale", *words])
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err
