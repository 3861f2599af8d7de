from pathlib import Path

import pytest

from crossmodal.errors import ConfigurationError
from crossmodal.search.policies import load_policies, parse_policies
from tests.policies import POLICIES

GOOD = """\
policies:
  - name: red
    description: red things
    concepts: [red, red thing]
    neutral: [blue]
    threshold: 0.5
"""


def test_a_good_file_is_read() -> None:
    (policy,) = parse_policies(GOOD)
    assert (policy.name, policy.description, policy.threshold) == ("red", "red things", 0.5)
    assert (policy.concepts, policy.neutral) == (["red", "red thing"], ["blue"])
    assert parse_policies(GOOD.replace("0.5", "1"))[0].threshold == 1.0


def test_the_sample_is_valid() -> None:
    assert [policy.name for policy in load_policies(POLICIES)] == ["fruit", "vehicles", "sea-animals"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the file: a mapping with the member 'policies' is needed"),
        ("policies: []", "policies: List should have at least 1 item"),
        ("policies: {red: 1}", "policies: a list of policies is needed"),
        ("- name: red", "the file: a mapping with the member"),
        (GOOD + "extra: 1", "extra: Extra inputs are not permitted"),
        (GOOD.replace("threshold", "treshold"), r"policies\.0\.threshold: Field required"),
        (GOOD + "    limit: 1", r"policies\.0\.limit: Extra inputs"),
        (GOOD.replace("0.5", "1.5"), r"policies\.0\.threshold: Input should be less than or equal to 1"),
        (GOOD.replace("0.5", "'0.5'"), r"policies\.0\.threshold: Input should be a valid number"),
        (GOOD.replace("0.5", ".nan"), r"policies\.0\.threshold: Input should be a finite number"),
        (GOOD.replace("0.5", "yes"), r"policies\.0\.threshold: Input should be a valid number"),
        (GOOD.replace("name: red", "name: Red Things"), r"policies\.0\.name: a name is 1 to 64 of"),
        (GOOD.replace("[blue]", "[]"), r"policies\.0\.neutral: List should have at least 1 item"),
        (GOOD.replace("[blue]", "blue"), r"policies\.0\.neutral: Input should be a valid list"),
        (GOOD.replace("[blue]", "[no]"), r"policies\.0\.neutral\.0: Input should be a valid string"),
        (GOOD.replace("[blue]", "[' ']"), r"policies\.0\.neutral\.0: the text is empty"),
        (GOOD.replace("[blue]", "[blue, blue]"), r"policies\.0\.neutral\.1: 'blue' stands twice"),
        (GOOD.replace("[blue]", "[blue, red thing]"), r"policies\.0\.neutral\.1: 'red thing' is a concept, too"),
        (GOOD + GOOD.removeprefix("policies:\n"), r"policies\.1\.name: 'red' is the name of another policy"),
        (GOOD + "    threshold: 0.9", "line 7: 'threshold' stands twice"),
        (GOOD.replace("[blue]", "[blue"), "not valid YAML, line"),
        ("policies: !!python/object/apply:os.getcwd []", "not valid YAML, line 1: could not determine a constructor"),
        ("policies: &a [*a]", r"policies\.0: Input should be"),
        ("{" * 5000, "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML, line 2"),
        ("\0", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policies.yaml"
    file.write_text(text)
    with pytest.raises(ConfigurationError, match=f"{file}: {said}") as raised:
        load_policies(file)
    assert "\n" not in raised.value.detail


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml: No such file"):
        load_policies(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"policies: stra\xdfe")
    with pytest.raises(ConfigurationError, match=r"latin\.yaml is not UTF-8"):
        load_policies(tmp_path / "latin.yaml")
