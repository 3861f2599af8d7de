"""What was acknowledged is there after SIGKILL to everything; and a loss would be seen."""

import shutil
from pathlib import Path

from tests.faults.durability import full, run

KILLS = 20


def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    ledger, missing = run(KILLS, tmp_path)
    assert missing == []
    assert len(ledger.pictures) > KILLS
    assert len(ledger.texts) > KILLS
    assert ledger.deleted


def test_nor_when_all_that_bentoml_starts_is_killed(tmp_path: Path) -> None:
    ledger, missing = run(2, tmp_path, start=full)
    assert missing == []
    assert ledger.pictures
    assert ledger.texts


def test_a_loss_is_seen(tmp_path: Path) -> None:
    def lose(folder: Path) -> None:
        shutil.rmtree(folder / "store" / "texts")
        for original in (folder / "media" / "default" / "original").rglob("?" * 64):
            original.write_bytes(b"not what was sent")

    ledger, missing = run(1, tmp_path, spoil=lose)
    assert ledger.pictures
    assert ledger.texts
    assert set(missing) == {*ledger.pictures, *ledger.texts}
