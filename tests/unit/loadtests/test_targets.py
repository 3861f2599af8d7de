"""Load goes to this machine alone, and locust stays in its own processes."""

import os
import socket
import subprocess
import sys

import pytest

from loadtests.__main__ import main
from loadtests.targets import listening_at, local_target
from tools.servers import ROOT

SECONDS = 60
NUMBERS = {
    "run": ["--seconds", "--users", "--rate", "--connections", "--leak", "--seed"],
    "knee": ["--seconds", "--rounds", "--most", "--seed"],
    "autoscale": ["--rate", "--speed", "--target", "--least", "--seed"],
    "plan": ["--rate", "--service-ms", "--batch", "--price", "--variation", "--utilisation", "--wait-ms", "--spare"],
}


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_an_address_of_this_machine() -> None:
    assert local_target("http://127.0.0.1:3000/") == "http://127.0.0.1:3000"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:3000",
        "http://127.0.0.1",
        "https://127.0.0.1:3000",
        "http://localhost:3000",
        "http://10.0.0.1:3000",
        "http://example.org:3000",
        "http://127.0.0.1:3000@example.org:80",
        "http://127.0.0.1.example.org:3000",
        "http://user@127.0.0.1:3000",
        "http://127.0.0.1:3000/search",
        "http://127.0.0.1:3000?x",
        "http://127.0.0.1:99999",
    ],
)
def test_anything_else_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1|[Pp]ort"):
        local_target(url)


def test_the_process_that_listens_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert listening_at(port) == os.getpid()
    assert listening_at(port) is None


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("run", "--url", "http://example.org:80"), "load goes to http://127.0.0.1:PORT alone"),
        (("knee", "--url", "http://example.org:80"), "load goes to http://127.0.0.1:PORT alone"),
        (("run", "--users", "257"), "argument --users: '257' is not a whole number of users from 1 to 256"),
        (("run", "--users", "1.5"), "argument --users: '1.5' is not a whole number of users from 1 to 256"),
        (("run", "--seconds", "nan"), "argument --seconds: 'nan' is not a number of seconds from 1 to 86400"),
        (("run", "--seconds", "soon"), "argument --seconds: 'soon' is not a number of seconds from 1 to 86400"),
        (("run", "--rate", "inf", "--open"), "argument --rate: 'inf' is not a number of arrivals a second from 0.1 to"),
        (("run", "--seed", "x" * 100), f"argument --seed: '{'x' * 40}...' is not a whole number from 0 to"),
        (("knee", "--most", "1000"), "argument --most: '1000' is not a whole number of requests from 1 to 128"),
        (("plan", "--rate", "-1", "--service-ms", "1"), "argument --rate: '-1' is not a number of items a second from"),
        (("plan", "--rate", "1", "--service-ms", "0"), "argument --service-ms: '0' is not a number of milliseconds"),
        (("run", "--rate", "5"), "--rate is of --open"),
        (("run", "--leak", "1024", "--url", "http://127.0.0.1:3000"), "--leak is of a service that is started"),
        (("run", "--open", "--users", "5"), "no --users"),
        (("run", "--open", "--shape", "spike"), "no other --shape"),
        (("run", "--slo", "nowhere.yaml"), "No such file"),
    ],
)
def test_the_commands_refuse_what_is_out_of_bounds(
    words: tuple[str, ...], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert complaint in capsys.readouterr().err.splitlines()[-1]


def test_every_number_has_bounds(capsys: pytest.CaptureFixture[str]) -> None:
    needed = {"plan": {"--rate": "1", "--service-ms": "1"}}
    for command, options in NUMBERS.items():
        for option in options:
            others = {name: value for name, value in needed.get(command, {}).items() if name != option}
            for value in ("nan", "-1e999", "1e999", "many", "9" * 5000):
                with pytest.raises(SystemExit) as ended:
                    main([command, *(word for pair in others.items() for word in pair), f"{option}={value}"])
                assert ended.value.code == 2
                said = capsys.readouterr().err.splitlines()[-1]
                assert f"error: argument {option}: " in said
                assert " from " in said
                assert len(said) < 250


def test_the_commands_do_not_import_what_patches_the_standard_library() -> None:
    ended = python("-c", "import sys, loadtests.__main__; print('gevent' in sys.modules, 'locust' in sys.modules)")
    assert ended.stdout.split() == ["False", "False"], ended.stderr


def test_neither_do_these_tests() -> None:
    assert "gevent" not in sys.modules
    assert "locust" not in sys.modules


def test_locust_itself_sends_nothing_elsewhere() -> None:
    code = (
        "from loadtests.users import Mixed\n"
        "Mixed.host = 'http://10.0.0.1:80'\n"
        "try:\n    Mixed(None)\n"
        "except ValueError as error:\n    print(error)"
    )
    assert "load goes to http://127.0.0.1:PORT alone" in python("-c", code).stdout
