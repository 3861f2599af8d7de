"""What cannot be run ends with status 2 and one line that names what was given."""

import re
from pathlib import Path

import pytest

from loadtests.__main__ import main
from tools.servers import free_port


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--slo", "{folder}/text"), r"text holds no objectives: .+"),
        (("--slo", "{folder}/nothing"), r".+/nothing: No such file or directory"),
        (
            ("--seconds", "1", "--url", "http://127.0.0.1:{port}"),
            r"http://127\.0\.0\.1:\d+ does not answer: .*Connection refused",
        ),
        (("--rate", "5"), r"--rate is of --open arrivals"),
        (("--users", "4", "--open"), r"--open has arrivals at one --rate: .+"),
    ],
)
def test_one_line_says_what_is_wrong(
    words: tuple[str, ...], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text").write_text("# A text\n**no: objectives\n  - at [all\n")
    given = [word.format(folder=tmp_path, port=free_port()) for word in words]
    with pytest.raises(SystemExit) as ended:
        main(["run", *given, "--out", str(tmp_path / "out")])
    assert ended.value.code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(line, told), told
