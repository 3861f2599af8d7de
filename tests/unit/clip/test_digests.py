import os
from hashlib import sha256
from pathlib import Path

import pytest

from crossmodal.clip import digests


def test_a_digest_is_the_same_begun_or_not(tmp_path: Path) -> None:
    content = os.urandom(3 * 2**20)
    file = tmp_path / "weights"
    file.write_bytes(content)
    assert digests.digest(file) == sha256(content).hexdigest()
    digests.begin(file)
    digests.begin(file)
    assert digests.digest(file) == sha256(content).hexdigest()


def test_a_file_over_several_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "PIECE", 1000)
    content = os.urandom(10_001)
    (tmp_path / "weights").write_bytes(content)
    assert digests.digest(tmp_path / "weights") == sha256(content).hexdigest()


@pytest.mark.parametrize("content", [b"another one", b""])
def test_a_file_exchanged_after_it_was_begun(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"the first")
    digests.begin(file)
    (tmp_path / "new").write_bytes(content)
    (tmp_path / "new").replace(file)
    assert digests.digest(file) == sha256(content).hexdigest()


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    digests.begin(tmp_path / "nothing")
    with pytest.raises(FileNotFoundError):
        digests.digest(tmp_path / "nothing")
