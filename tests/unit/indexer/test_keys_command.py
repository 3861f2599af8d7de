import json
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from crossmodal.api.keys import digest_of, parse_keys, whose
from indexer.cli import app
from tests.keys import entry, write_keys
from tools.servers import run_indexer


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def make(file: Path, name: str = "shop", *more: str) -> Result:
    return run("key", "--file", str(file), "--name", name, "--tenant", "acme", "--scope", "read", *more)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_key_is_shown_once_and_only_its_hash_is_kept(file: Path) -> None:
    result = make(file, "shop", "--scope", "write", "--rate", "5", "--burst", "60", "--expires", "2999-12-31")
    assert result.exit_code == 0
    key = result.stdout.strip()
    assert key.startswith("cms_")
    assert "only time" in result.stderr
    assert key not in file.read_text(encoding="utf-8")
    assert json.loads(file.read_text(encoding="utf-8")) == [
        {
            "name": "shop",
            "tenant": "acme",
            "scopes": ["read", "write"],
            "rate": 5.0,
            "burst": 60.0,
            "expires": "2999-12-31T00:00:00Z",
            "sha256": digest_of(key),
        }
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file], "nothing is left beside it"


def test_keys_are_added_and_the_file_is_closed_to_others(file: Path) -> None:
    write_keys(file, entry("cms_old", name="old"), mode=0o644)
    key = make(file).stdout.strip()
    keys = parse_keys(file.read_bytes())
    assert [found.name for each in ("cms_old", key) if (found := whose(each, keys))] == ["old", "shop"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    target = tmp_path / "elsewhere" / "real.json"
    target.parent.mkdir()
    file.symlink_to(target)
    assert make(file).exit_code == 0
    assert file.is_symlink()
    assert [key.name for key in parse_keys(target.read_bytes())] == ["shop"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("old",), "the same name"),
        (("a b",), "name: "),
        (("new", "--tenant", "Acme"), "tenant: "),
        (("new", "--rate", "0"), "rate: "),
        (("new", "--rate", "nan"), "not valid"),
        (("new", "--expires", "tomorrow"), "not a date"),
        (("new", "--expires", "2020-01-01"), "past"),
    ],
)
def test_what_the_service_would_refuse_is_not_written(file: Path, arguments: tuple[str, ...], reason: str) -> None:
    before = write_keys(file, entry("cms_old", name="old")).read_bytes()
    result = make(file, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


def test_a_broken_file_is_left_as_it_is(file: Path) -> None:
    file.write_text('[{"key": "cms_secret"}]', encoding="utf-8")
    result = make(file)
    assert result.exit_code == 2
    assert "keys in clear" in result.stderr
    assert file.read_text(encoding="utf-8") == '[{"key": "cms_secret"}]'


def test_the_list_shows_everything_but_hashes(file: Path) -> None:
    write_keys(
        file,
        entry("cms_a", name="shop", scopes=["write", "read"], rate=5, burst=60, expires="2999-12-31T00:00:00Z"),
        entry("cms_b", name="old", tenant="other", scopes=["admin"], expires="2001-01-01T00:00:00Z"),
    )
    result = run("keys", "--file", str(file))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "shop\tacme\tread,write\t5/s, burst 60\texpires 2999-12-31T00:00:00Z",
        "old\tother\tadmin\tdefault rate\texpired 2001-01-01T00:00:00Z",
    ]
    assert run("keys", "--file", str(file.with_name("none.json"))).exit_code == 2


def test_a_revoked_key_is_gone_and_an_unknown_one_is_told(file: Path) -> None:
    write_keys(file, entry("cms_a"), entry("cms_b"))
    assert run("revoke", "--file", str(file), "--name", "a").exit_code == 0
    assert [key.name for key in parse_keys(file.read_bytes())] == ["b"]
    result = run("revoke", "--file", str(file), "--name", "a")
    assert (result.exit_code, result.stderr) == (2, f"indexer: {file}: has no key called 'a'\n")


def test_the_command_works_as_it_is_typed(file: Path) -> None:
    arguments = ("key", "--file", str(file), "--name", "shop", "--tenant", "acme", "--scope", "admin")
    result = run_indexer(file.parent, *arguments)
    assert result.returncode == 0, result.stderr
    key, *rest = result.stdout.splitlines()
    assert rest == []
    (kept,) = parse_keys(file.read_bytes())
    assert whose(key, [kept]) is kept
