from pathlib import Path

import pytest

from crossmodal.disk import free_bytes, require_room, used_bytes
from crossmodal.errors import StoreUnavailable


def test_room_is_what_the_file_system_has_left(tmp_path: Path) -> None:
    free = free_bytes(tmp_path)
    assert free > 0
    require_room(tmp_path, free // 2)
    with pytest.raises(StoreUnavailable, match="the disk is nearly full"):
        require_room(tmp_path, 2 * free)


def test_holes_in_files_take_no_room(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with (tmp_path / "folder" / "sparse").open("wb") as file:
        file.truncate(50 * 2**20)
    (tmp_path / "solid").write_bytes(b"x" * 2**20)
    assert 2**20 <= used_bytes(tmp_path) < 2 * 2**20
