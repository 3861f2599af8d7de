"""Calls that meet: on shares of the threads, with the same embeddings; and the pages of the model's files."""

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from structlog.testing import capture_logs

from crossmodal.clip.cores import CALLS
from crossmodal.clip.device import Precision
from crossmodal.clip.exporting import export_model
from crossmodal.clip.loading import load_model
from crossmodal.clip.openvino_runtime import OpenVinoClip, native_precision
from crossmodal.clip.openvino_tower import Tower
from crossmodal.clip.self_check import least_cosine
from tools.servers import ROOT

TEXTS = ["a dog", "two cats on a mat", "東京 🙂", "over " * 40, "red"]
PRECISIONS: list[Precision] = ["fp32", "bf16"] if native_precision() == "bf16" else ["fp32"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exports")
    export_model("tiny", out=folder / "tiny", exports=folder)
    return folder / "tiny"


def loaded(exports: Path, *, threads: int = 2, precision: Precision = "fp32") -> OpenVinoClip:
    model = load_model(f"local-dir:{exports}", device="cpu", precision=precision, threads=threads)
    assert isinstance(model, OpenVinoClip)
    return model


@pytest.fixture(params=PRECISIONS)
def model(exports: Path, request: pytest.FixtureRequest) -> OpenVinoClip:
    return loaded(exports, precision=request.param)


def pictures(model: OpenVinoClip, count: int) -> Any:
    size = model.info.preprocessing.size
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def until(condition: Callable[[], object], within: float = 20.0) -> None:
    end = time.monotonic() + within
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def divided(model: OpenVinoClip) -> None:
    """Let calls meet in both towers, and wait for what that begins."""
    with model._images._cores.taken():
        model.embed_pixels(pictures(model, 1))
        model.embed_texts(["a dog"])
    until(lambda: model._images._shares and model._texts._shares)


def test_calls_that_meet_give_the_same_embeddings(model: OpenVinoClip) -> None:
    least = 0.99999 if model.info.precision == "fp32" else 0.999
    counts = [1, 3, 8, 16]
    alone = [(model.embed_pixels(pictures(model, count)), model.embed_texts(TEXTS[:count])) for count in counts]
    divided(model)
    with model._images._cores.taken():
        for count, (of_pictures, of_texts) in zip(counts, alone, strict=True):
            assert least_cosine(model.embed_pixels(pictures(model, count)), of_pictures) >= least
            assert least_cosine(model.embed_texts(TEXTS[:count]).embeddings, of_texts.embeddings) >= least


def test_many_threads_at_once_get_each_their_own(model: OpenVinoClip) -> None:
    # from before the towers are divided until long after
    least = 0.9999 if model.info.precision == "fp32" else 0.999
    counts = [1, 2, 5, 16]
    expected = {count: model.embed_pixels(pictures(model, count)) for count in counts}
    texts = {count: model.embed_texts(TEXTS[:count]).embeddings for count in counts}

    def ask(number: int) -> None:
        for turn in range(12):
            count = counts[(number + turn) % len(counts)]
            assert least_cosine(model.embed_pixels(pictures(model, count)), expected[count]) >= least
            assert least_cosine(model.embed_texts(TEXTS[:count]).embeddings, texts[count]) >= least

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    until(lambda: model._images._shares and model._texts._shares)
    shares = [tower._shares for tower in (model._images, model._texts)]
    assert [each.qsize() for each in shares if each is not None] == [CALLS, CALLS], "each was given back"


def test_calls_that_meet_run_beside_one_another(exports: Path) -> None:
    model = loaded(exports)
    divided(model)
    shares = model._images._shares
    assert shares is not None
    taken = [shares.get(), shares.get()]
    assert [each.get_compiled_model().get_property("NUM_STREAMS") for each in taken] == [CALLS, CALLS]
    with ThreadPoolExecutor(1) as threads, model._images._cores.taken():
        waits = threads.submit(model.embed_pixels, pictures(model, 1))
        time.sleep(0.1)
        assert not waits.done(), "there is no third share"
        shares.put(taken[0])
        waits.result(timeout=10)


def test_a_call_after_another_has_all_threads_and_costs_no_second_model(exports: Path) -> None:
    model = loaded(exports)
    assert (model.info.calls, model.info.side_by_side) == (CALLS, True)
    for count in (1, 16, 2):
        model.embed_pixels(pictures(model, count))
        model.embed_texts(TEXTS)
    assert "openvino-divide" not in {thread.name for thread in threading.enumerate()}
    assert (model._images._shares, model._texts._shares) == (None, None)
    divided(model)
    requests, whole = [model._images._shares, model._texts._shares], model._images._whole
    for shares in requests:
        assert shares is not None
        for _ in range(CALLS):  # whoever needed one now would wait for ever
            shares.get()
    assert len(model.embed_pixels(pictures(model, 4))) == 4
    assert whole.get_compiled_model().get_property("NUM_STREAMS") == 1


def test_one_thread_is_not_divided(exports: Path) -> None:
    model = loaded(exports, threads=1)
    assert (model.info.calls, model.info.side_by_side) == (1, False)
    with model._images._cores.taken():
        model.embed_pixels(pictures(model, 2))
    assert not model._images._begun.locked()


def test_a_tower_that_cannot_be_divided_goes_on_as_it_was(exports: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = loaded(exports)
    alone = model.embed_pixels(pictures(model, 3))

    def fails(*_: object) -> None:
        raise RuntimeError("no memory\n  for it")

    monkeypatch.setattr(Tower, "_compile", fails)
    with capture_logs() as logs:
        with model._images._cores.taken():
            model.embed_pixels(pictures(model, 3))
        until(lambda: logs)
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("clip_not_divided", "no memory for it")]
    with ThreadPoolExecutor(4) as threads:
        for embeddings in threads.map(model.embed_pixels, [pictures(model, 3)] * 8):
            assert least_cosine(embeddings, alone) >= 0.99999


def test_what_was_exchanged_since_the_start_is_not_served(exports: Path, tmp_path: Path) -> None:
    shutil.copytree(exports, tmp_path / "export")
    model = loaded(tmp_path / "export")
    alone = model.embed_pixels(pictures(model, 3))
    weights = tmp_path / "export" / "openvino_image.bin"
    numbers = np.fromfile(weights, np.float32)
    mixed = (np.abs(numbers) > 1e-4) & (np.abs(numbers) < 10)  # none of what says how axes lie
    numbers[mixed] = np.random.default_rng(0).permutation(numbers[mixed])
    numbers.tofile(tmp_path / "other")
    (tmp_path / "other").replace(weights)
    with capture_logs() as logs:
        with model._images._cores.taken():
            model.embed_pixels(pictures(model, 3))
        until(lambda: logs)
        with model._images._cores.taken():
            assert least_cosine(model.embed_pixels(pictures(model, 3)), alone) >= 0.99999
    assert [entry["event"] for entry in logs] == ["clip_not_divided"]
    assert "embeds otherwise than at the start: cosine" in logs[0]["reason"]


def test_where_no_thread_is_to_be_had_calls_go_one_after_the_other(
    exports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded(exports)

    def fails(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched, capture_logs() as logs, model._images._cores.taken():
        patched.setattr(threading.Thread, "start", fails)
        for _ in range(2):
            assert len(model.embed_pixels(pictures(model, 2))) == 2
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("clip_not_divided", "can't start new thread")]


def test_a_wrong_call_divides_nothing_wrongly(exports: Path) -> None:
    model = loaded(exports)
    with model._images._cores.taken(), pytest.raises(RuntimeError):
        model._images.embed(np.zeros((1, 3, 5, 7), dtype=np.uint8))
    divided(model)
    with model._images._cores.taken(), pytest.raises(RuntimeError):
        model._images.embed(np.zeros((1, 3, 5, 7), dtype=np.uint8))
    assert (model._images._cores._computing, model._images._shares.qsize()) == (0, CALLS)  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["a b", "a\u2028b", "a\x0cb\rc", "a\nb", "å (deleted)"])
def test_folders_of_any_name_and_of_links_are_loaded(exports: Path, tmp_path: Path, name: str) -> None:
    folder, blobs = tmp_path / name, tmp_path / "blobs"
    folder.mkdir()
    blobs.mkdir()
    for number, file in enumerate(exports.iterdir()):
        shutil.copy(file, blobs / str(number))
        (folder / file.name).symlink_to(blobs / str(number))
    expected = loaded(exports).embed_texts(TEXTS).embeddings
    for place in (folder, exports.parent / name):
        if place != folder:
            shutil.copytree(exports, place)
        model = loaded(place)
        divided(model)
        with model._images._cores.taken():
            assert least_cosine(model.embed_texts(TEXTS).embeddings, expected) >= 0.99999


PROBE = """
import json, sys, threading, time
from pathlib import Path
from crossmodal.clip.loading import load_model
import numpy as np

def resident():
    sizes, name = {}, ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0]:
            name = line.split(maxsplit=5)[-1]
        elif line.startswith("Rss:") and name.endswith(".bin"):
            sizes[Path(name).name] = sizes.get(Path(name).name, 0) + int(line.split()[1])
    return sizes

model = load_model(sys.argv[1], device="cpu", precision=sys.argv[2], threads=2)
told = [resident()]
size = model.info.preprocessing.size
pixels = np.zeros((5, size, size, 3), dtype=np.uint8)
with model._images._cores.taken():
    model.embed_pixels(pixels)
    model.embed_texts(["a dog"])
    while not (model._images._shares and model._texts._shares):
        time.sleep(0.01)
    model.embed_pixels(pixels)
    model.embed_texts(["a dog"] * 7)
[each.join() for each in threading.enumerate() if each.name == "openvino-divide"]
told.append(resident())
again = load_model(sys.argv[1], device="cpu", precision=sys.argv[2], threads=2)
told.append(resident())
print(json.dumps(told))
"""


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.skipif(sys.platform != "linux", reason="mappings are looked up in /proc")
def test_weights_of_which_copies_are_computed_with_are_not_kept_in_memory(exports: Path, precision: str) -> None:
    command = [sys.executable, "-c", PROBE, f"local-dir:{exports}", precision]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=120, check=True)
    loaded_, met, twice = json.loads(ended.stdout.splitlines()[-1])
    size = sum(path.stat().st_size / 1024 for path in exports.glob("*.bin"))
    assert len(loaded_) == len(met) == 2, "both are mapped"
    assert sum(loaded_.values()) < 0.1 * size, "after the start"
    assert sum(met.values()) < 0.2 * size, "after it was compiled once more; rows of tokens are read from the file"
    assert sum(twice.values()) > 0.5 * size, "with a second model of the files nothing may be unmapped"
