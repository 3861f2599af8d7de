"""What can never work ends the server with a status other than 0 and one line that says which thing it is."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from crossmodal.supervision import EXIT_MISCONFIGURED
from tests.faults.conftest import Start
from tools.servers import ROOT, Server

WEIGHTS = "open_clip_model.safetensors"
CONFIG = "open_clip_config.json"


def ended(server: Server) -> str:
    """The line with which it ended."""
    assert server.process.wait(90) == EXIT_MISCONFIGURED
    assert "Traceback" not in server.log
    (line,) = [line for line in server.log.splitlines() if "cannot start" in line]
    with pytest.raises(httpx.ConnectError):
        httpx.get(server.url + "/readyz")
    return str(json.loads(line)["detail"])


def missing(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def truncated(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def one_byte_short(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-1])


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "open_clip_pytorch_model.bin").write_bytes(pickle.dumps({"weights": [1.0]}))


def pickled_under_the_safe_name(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]}))


def of_another_shape(folder: Path) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config["model_cfg"]["embed_dim"] *= 2
    (folder / CONFIG).write_text(json.dumps(config))


def of_no_configuration(folder: Path) -> None:
    (folder / CONFIG).write_text("{")


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (missing, "no weights"),
        (truncated, "damaged"),
        (one_byte_short, "damaged"),
        (pickled, "safetensors"),
        (pickled_under_the_safe_name, "damaged"),
        (of_another_shape, "does not fit"),
        (of_no_configuration, CONFIG),
    ],
)
def test_weights_that_cannot_be_used(start: Start, tmp_path: Path, spoil: Callable[[Path], None], says: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "tiny", folder)
    spoil(folder)
    assert says in ended(start(ready=False, MODEL=f"local-dir:{folder}"))


def test_the_other_way_ends_too(start: Start, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "models" / "tiny", tmp_path / "model")
    truncated(tmp_path / "model")
    server = start(ready=False, ENCODER="service", MODEL=f"local-dir:{tmp_path / 'model'}")
    assert "damaged" in ended(server)


def test_settings_that_are_wrong(start: Start) -> None:
    assert "CROSSMODAL_TIMEOUT" in ended(start(ready=False, TIMEOUT="soon"))


def test_a_store_of_another_model(start: Start) -> None:
    first = start()
    first.stop()
    note = first.folder / "data" / "store" / "collections.json"
    spec = json.loads(note.read_text())
    note.write_text(json.dumps(spec | {"fingerprint": "0" * 64}))
    (first.folder / "server.log").unlink()
    assert "start with the old model" in ended(start(ready=False))


def test_a_folder_that_is_a_file(start: Start, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    assert "cannot be made" in ended(start(ready=False, MEDIA=str(tmp_path / "taken")))
