import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crossmodal.encoder import BatchLimits, LocalEncoder
from crossmodal.errors import ConfigurationError
from crossmodal.search.policies import load_policies
from crossmodal.settings import Settings
from crossmodal.wiring import Container, build_container
from indexer.policies import as_table, dump, fit, read_examples, with_thresholds, write_thresholds
from tests.fakes import ColourModel
from tests.policies import EXAMPLES, OBJECTS, POLICIES, labelled
from tests.unit.api.helpers import picture
from tools.servers import run_indexer

FILE = """\
# Whose they are.
policies:
  - name: red     # the first
    concepts: [red]
    neutral:
      - green   # near enough
    threshold: 0.50   # a guess
  - {name: blue, threshold: 1, concepts: [blue], neutral: [green]}
"""


@pytest.fixture
async def container(tmp_path: Path) -> AsyncIterator[Container]:
    container = build_container(
        Settings(store="memory:", data=tmp_path), LocalEncoder(ColourModel(), BatchLimits(queued=64))
    )
    await container.open()
    yield container
    await container.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "policies.yaml"
    file.write_text(FILE)
    return file


def examples(folder: Path, reds: int = 10, others: int = 10) -> Path:
    """Reddish pictures that are red, a blue one that is called red, and others that are none."""
    lines = []
    for number in range(reds + others):
        colour = (255 - number, 0, 0) if number < reds else (0, 160 + number, number)
        (folder / f"{number}.png").write_bytes(picture(colour))
        lines.append({"image": f"{number}.png", "policies": ["red"] if number < reds else []})
    (folder / "examples.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    return folder / "examples.jsonl"


async def test_the_threshold_parts_what_is_from_what_is_not(container: Container, file: Path, tmp_path: Path) -> None:
    policies = load_policies(file)[:1]
    read = read_examples(examples(tmp_path), ["red"])
    (found,) = await fit(container, policies=policies, examples=read, min_precision=None)
    assert found.chosen is not None
    assert (found.chosen.precision, found.chosen.recall, found.chosen.flagged) == (1.0, 1.0, 10)
    lines = list(as_table(found, None))
    assert lines[0] == "red: average precision 1.000, resting on 10 positives among 20 examples"
    assert [line for line in lines if line.endswith("<- chosen")] == [lines[-1]]
    (told,) = json.loads(dump([found]))
    assert (told["name"], told["average_precision"], told["threshold_before"]) == ("red", 1.0, 0.5)
    assert told["chosen"] == told["points"][len(lines) - 3]


async def test_without_a_threshold_so_precise_none_is_chosen(container: Container, file: Path, tmp_path: Path) -> None:
    labelled_file = examples(tmp_path)
    lines = [json.loads(line) for line in labelled_file.read_text().splitlines()]
    lines = [{"image": line["image"], "policies": [] if line["policies"] else ["red"]} for line in lines]
    labelled_file.write_text("\n".join(map(json.dumps, lines)))
    read = read_examples(labelled_file, ["red"])
    (found,) = await fit(container, policies=load_policies(file)[:1], examples=read, min_precision=0.9)
    assert found.chosen is None
    assert list(as_table(found, 0.9))[-1] == "  no threshold has a precision of 0.9; 0.5 stays"
    assert json.loads(dump([found]))[0]["chosen"] is None


async def test_bad_examples_are_refused_by_name(container: Container, file: Path, tmp_path: Path) -> None:
    policies = load_policies(file)[:1]
    few = read_examples(examples(tmp_path, reds=9), ["red"])
    with pytest.raises(ConfigurationError, match="red: 9 examples are of it and 10 are not; at least 10"):
        await fit(container, policies=policies, examples=few, min_precision=None)
    (tmp_path / "3.png").write_bytes(b"junk")
    with pytest.raises(ConfigurationError, match=r"3\.png: The bytes are no picture"):
        await fit(container, policies=policies, examples=few, min_precision=None)
    (tmp_path / "3.png").unlink()
    with pytest.raises(ConfigurationError, match=r"3\.png: No such file"):
        await fit(container, policies=policies, examples=few, min_precision=None)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 1: not valid JSON"),
        ('"a.png"', "line 1: an object with 'image' and 'policies'"),
        ('{"image": "a.png"}', "line 1: an object with 'image' and 'policies'"),
        ('{"image": "a.png", "policies": [], "x": 1}', "line 1: an object with 'image' and 'policies'"),
        ('{"image": 1, "policies": []}', "line 1: 'image' is a path"),
        ('{"image": "a.png", "policies": "red"}', "line 1: 'image' is a path"),
        ('{"image": "a.png", "policies": ["rde"]}', "line 1: there is no policy 'rde'; there are red"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "examples.jsonl").write_text(line)
    with pytest.raises(ConfigurationError, match=said):
        read_examples(tmp_path / "examples.jsonl", ["red"])


def test_thresholds_are_written_and_nothing_else_changes(file: Path) -> None:
    file.chmod(0o640)
    write_thresholds(file, {"red": 0.125, "blue": 0.5})
    assert file.read_text(encoding="utf-8") == FILE.replace("0.50 ", "0.125 ").replace(
        "threshold: 1,", "threshold: 0.5,"
    )
    assert file.stat().st_mode & 0o777 == 0o640
    write_thresholds(file, {"blue": 1e-09})
    assert [policy.threshold for policy in load_policies(file)] == [0.125, 1e-09]
    assert "# a guess" in file.read_text(encoding="utf-8")
    file.write_bytes(FILE.replace("\n", "\r\n").encode())
    write_thresholds(file, {"red": 0.25})
    assert file.read_bytes() == FILE.replace("0.50 ", "0.25 ").replace("\n", "\r\n").encode()


def test_a_shared_threshold_is_not_written(file: Path) -> None:
    shared = FILE.replace("0.50 ", "&t 0.5 ").replace("threshold: 1,", "threshold: *t,")
    file.write_text(shared, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="policies share a threshold by an alias"):
        write_thresholds(file, {"blue": 0.25})
    assert file.read_text(encoding="utf-8") == shared


def test_text_before_the_policies_moves_nothing() -> None:
    text = "# 🍌 ü\r\n" + FILE
    assert with_thresholds(text, {"red": 0.25}) == text.replace("0.50 ", "0.25 ")


def test_the_command_fits_the_sample_policies_with_the_bundled_model(tmp_path: Path) -> None:
    """As the README says, on copies beside links to the pictures."""
    policies, lines = tmp_path / "policies.yaml", tmp_path / "examples.jsonl"
    policies.write_text(POLICIES.read_text())
    (tmp_path / "images").symlink_to(EXAMPLES.parent / "images")
    chosen = [line for line in labelled() if '"fruit"' in line] + [line for line in labelled() if "[]" in line][:80]
    lines.write_text("\n".join(chosen))
    arguments = ("fit-policies", "--policies", str(policies), "--examples", str(lines), "--policy", "fruit", "--write")
    outcome = run_indexer(tmp_path, *arguments, "--json", "--min-precision", "0.9")
    assert outcome.returncode == 0, outcome.stderr
    (told,) = json.loads(outcome.stdout)
    assert (told["name"], told["positives"], told["examples"]) == ("fruit", 36, 116)
    assert told["average_precision"] > 0.85
    assert told["chosen"]["precision"] >= 0.9
    assert told["chosen"]["recall"] > 0.6
    before = {policy.name: policy.threshold for policy in load_policies(POLICIES)}
    after = {policy.name: policy.threshold for policy in load_policies(policies)}
    assert after == before | {"fruit": told["chosen"]["threshold"]}
    assert not (tmp_path / "data").exists()
    outcome = run_indexer(tmp_path, *arguments[:-1], "--policy", "nothing")
    assert (outcome.returncode, "has no policy 'nothing'; it has fruit, vehicles" in outcome.stderr) == (2, True)


def test_the_sample_examples_are_what_the_gallery_says() -> None:
    assert EXAMPLES.read_text().splitlines() == labelled()
    assert set(OBJECTS) == {policy.name for policy in load_policies(POLICIES)}
