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
        (("--phases", "1x5 " * 21), "1 to 20 phases are needed, 21 came"),
        (("--rate", "0"), "--rate: '0' is not a number of requests a second from 0.01 to 1000"),
        (("--rate", "nan"), "--rate: 'nan' is not a number"),
        (("--speed", "0"), "--speed: '0' is not a factor from 1 to 1000"),
        (("--speed", "-1"), "--speed: '-1' is not a factor from 1 to 1000"),
        (("--speed", "inf"), "--speed: 'inf' is not a factor"),
        (("--speed", "fast"), "--speed: 'fast' is not a factor"),
        (("--target", "0"), "--target: '0' is not a number of items in flight from 0.1 to 10000"),
        (("--target", "1e300"), "--target: '1e300' is not a number of items in flight"),
        (("--least", "9"), "--least: '9' is not a whole number of encoders from 1 to 4"),
        (("--seed", "-1"), "--seed: '-1' is not a whole number from 0 to 4294967295"),
    ],
)
def test_the_command_refuses_it_before_anything_starts(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["autoscale", *words])
    assert ended.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m loadtests autoscale: error: argument ")
    assert complaint in last
