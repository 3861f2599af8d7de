import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crossmodal.api.caller import Caller, Right
from crossmodal.api.keyring import KeyRing
from crossmodal.api.keys import MAX_KEYS, Key, digest_of, new_key, parse_keys, whose
from crossmodal.errors import ConfigurationError
from tests.keys import entry, write_keys

SECRET = "cms_DoNotShowThisAnywhere0123456789"  # noqa: S105  a made-up one


def parse(*entries: Any) -> tuple[Key, ...]:
    return parse_keys(json.dumps(list(entries)).encode())


def refusal(content: bytes) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_keys(content)
    detail = caught.value.detail
    assert SECRET not in detail
    assert digest_of(SECRET) not in detail
    assert "\n" not in detail
    return detail


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_key_is_random_long_and_easy_to_find_in_a_text() -> None:
    made = {new_key() for _ in range(100)}
    assert len(made) == 100
    # 256 bits are 43 characters of base64.
    assert all(key.startswith("cms_") and len(key) == 4 + 43 for key in made)


def test_an_entry_says_whose_the_key_is_and_what_it_may_do() -> None:
    (full, plain) = parse(
        entry("cms_a", scopes=["write", "read"], rate=5, burst=20.5, expires="2030-01-31T13:00:00+01:00"),
        entry("cms_b", tenant="b-2_c"),
    )
    assert full.caller == Caller("acme", frozenset({Right.READ, Right.WRITE}), "a")
    assert (full.rate, full.burst) == (5.0, 20.5)
    assert full.expires == datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert plain.caller == Caller("b-2_c", frozenset({Right.READ}), "b")
    assert (plain.rate, plain.burst, plain.expires) == (None, None, None)


def test_the_right_to_administer_includes_the_others() -> None:
    (key,) = parse(entry(scopes=["admin"]))
    assert key.caller.rights == set(Right)
    (writer,) = parse(entry(scopes=["write"]))
    assert writer.caller.rights == {Right.WRITE}


def test_each_of_several_keys_is_known_and_no_other() -> None:
    keys = parse(*(entry(f"cms_{name}") for name in "abc"))
    assert [found.name for name in "abc" if (found := whose(f"cms_{name}", keys))] == ["a", "b", "c"]
    for other in ("cms_d", "cms_A", "cms_a ", "", digest_of("cms_a")):
        assert whose(other, keys) is None


def test_every_entry_is_compared_wherever_the_right_one_stands() -> None:
    looked_at: list[str] = []

    class Watched(tuple[Key, ...]):
        __slots__ = ()

        def __iter__(self) -> Iterator[Key]:
            for key in super().__iter__():
                looked_at.append(key.name)
                yield key

    keys = Watched(parse(*(entry(f"cms_{name}") for name in "abc")))
    for presented in ("cms_a", "cms_b", "cms_c", "cms_x"):
        looked_at.clear()
        whose(presented, keys)
        assert looked_at == ["a", "b", "c"]


def test_a_key_ends_at_its_moment() -> None:
    (key,) = parse(entry(expires="2030-01-01T00:00:00Z"))
    assert not key.expired(datetime(2029, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert key.expired(datetime(2030, 1, 1, tzinfo=UTC))


def test_a_hash_is_never_shown_by_accident() -> None:
    (key,) = parse(entry(SECRET))
    assert digest_of(SECRET) not in repr(key)


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"key": SECRET}, "entry 2 ('b') has a 'key': keys in clear are refused"),
        ({"token": SECRET}, "keys in clear are refused"),
        ({"sha256": SECRET}, "entry 2 ('b'): sha256 must be 64 hexadecimal digits"),
        ({"sha256": digest_of(SECRET).upper()}, "sha256 must be 64 hexadecimal digits"),
        ({"sha256": digest_of(SECRET)[:-1]}, "sha256 must be 64 hexadecimal digits"),
        ({"sha256": digest_of("cms_a")}, "entries 1 and 2 ('b') have the same key"),
        ({"name": "a"}, "entries 1 and 2 ('a') have the same name"),
        ({"name": SECRET}, "entry 2 has a name that looks like a key"),
        ({"name": "with space"}, "entry 2: name: "),
        ({"name": 3}, "entry 2: name: "),
        ({SECRET: 1}, "entry 2 ('b'): it has an unknown member"),
        ({"scope": "read"}, "unknown member 'scope'"),
        ({"tenant": "Acme"}, "tenant: "),
        ({"tenant": "-a"}, "tenant: "),
        ({"tenant": "a/b"}, "tenant: "),
        ({"tenant": "a" * 65}, "tenant: "),
        ({"tenant": "a\n"}, "tenant: "),
        ({"tenant": ""}, "tenant: "),
        ({"scopes": []}, "scopes: "),
        ({"scopes": "read"}, "scopes: "),
        ({"scopes": ["root"]}, "scopes.0: "),
        ({"scopes": [SECRET]}, "scopes.0: "),
        ({"rate": 0}, "rate: "),
        ({"rate": -1}, "rate: "),
        ({"rate": "5"}, "rate: "),
        ({"rate": True}, "rate: "),
        ({"burst": 0.5}, "burst: "),
        ({"expires": "2030-01-01T00:00:00"}, "expires must be a date-time with a zone"),
        ({"expires": "soon"}, "expires must be a date-time with a zone"),
        ({"expires": "0001-01-01T00:00:00+23:59"}, "expires must be a date-time with a zone"),
        ({"expires": 1893456000}, "expires: "),
    ],
)
def test_an_entry_that_is_wrong_is_named_and_not_shown(members: dict[str, Any], reason: str) -> None:
    content = json.dumps([entry("cms_a"), entry(SECRET, name="b") | members])
    assert reason in refusal(content.encode())


def test_every_member_but_the_optional_ones_is_needed() -> None:
    for name in ("name", "tenant", "scopes", "sha256"):
        given = entry(SECRET, name="b")
        del given[name]
        assert (name if name != "sha256" else "64 hexadecimal digits") in refusal(json.dumps([given]).encode())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not valid JSON"),
        (f'[{{"name": "{SECRET}'.encode(), "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'[{"name": "a", "name": "b"}]', "not valid JSON"),
        (b'[{"rate": NaN}]', "not valid JSON"),
        (json.dumps({"name": SECRET}).encode(), "not a JSON list"),
        (json.dumps([SECRET]).encode(), "entry 1: "),
        (json.dumps([entry()] * (MAX_KEYS + 1)).encode(), f"at most {MAX_KEYS}"),
    ],
)
def test_a_file_that_is_no_list_of_entries_is_refused(content: bytes, reason: str) -> None:
    assert reason in refusal(content)


def test_a_missing_unreadable_broken_or_empty_file_stops_the_start_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.json"
    broken.write_text(SECRET)
    for path, reason in (
        (tmp_path / "missing.json", "No such file"),
        (tmp_path, "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (broken, "not valid JSON"),
        (write_keys(tmp_path / "empty.json"), "has no keys"),
    ):
        with pytest.raises(ConfigurationError) as caught:
            KeyRing(path)
        assert reason in caught.value.detail
        assert str(path) in caught.value.detail
        assert SECRET not in caught.value.detail
        assert "\n" not in caught.value.detail


def test_keys_come_and_go_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_keys(tmp_path / "keys.json", entry("cms_a"))
    ring = KeyRing(path)
    ring.look()
    assert logged(capsys) == []

    write_keys(path, entry("cms_a"), entry("cms_b"))
    ring.look()
    assert [key.name for key in ring.keys] == ["a", "b"]
    write_keys(tmp_path / "next.json", entry("cms_b")).replace(path)
    ring.look()
    assert whose("cms_a", ring.keys) is None
    assert [line["keys"] for line in logged(capsys)] == [["a", "b"], ["b"]]


def test_a_broken_version_changes_nothing_and_is_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_keys(tmp_path / "keys.json", entry("cms_a"))
    ring = KeyRing(path)
    before = ring.keys
    path.write_text(f'[{{"key": "{SECRET}"}}]')
    ring.look()
    ring.look()
    path.unlink()
    ring.look()
    ring.look()
    assert ring.keys is before
    lines = logged(capsys)
    assert [line["level"] for line in lines] == ["warning", "warning"]
    assert "keys in clear" in lines[0]["detail"]
    assert "No such file" in lines[1]["detail"]
    assert SECRET not in str(lines)

    write_keys(path, entry("cms_b"))
    ring.look()
    assert [key.name for key in ring.keys] == ["b"]


def test_revoking_the_last_key_leaves_none(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", entry("cms_a"))
    ring = KeyRing(path)
    write_keys(path)
    ring.look()
    assert ring.keys == ()


@pytest.mark.parametrize(
    ("mode", "told"), [(0o600, False), (0o640, False), (0o644, True), (0o620, True), (0o602, True)]
)
def test_a_file_that_others_may_read_or_change_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], mode: int, *, told: bool
) -> None:
    KeyRing(write_keys(tmp_path / "keys.json", entry(), mode=mode))
    assert [(line["level"], line["mode"]) for line in logged(capsys)] == ([("warning", f"{mode:04o}")] if told else [])


def test_the_file_is_followed_in_a_thread_until_it_is_closed(tmp_path: Path) -> None:
    path = write_keys(tmp_path / "keys.json", entry("cms_a"))
    ring = KeyRing(path, look_seconds=0.01)
    ring.watch()
    ring.watch()
    try:
        write_keys(path, entry("cms_b"))
        deadline = time.monotonic() + 30
        while [key.name for key in ring.keys] != ["b"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (thread,) = [thread for thread in threading.enumerate() if thread.name == "keys"]
    finally:
        ring.close()
    thread.join(30)
    assert not thread.is_alive()
