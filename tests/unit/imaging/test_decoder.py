"""The decoding process: the same pictures as in this one, and what happens when it hangs, dies, or loses its parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from PIL import Image
from structlog.testing import capture_logs

from crossmodal.errors import (
    DeadlineExceeded,
    ImageTooLarge,
    ImageUndecodable,
    Overloaded,
    PayloadTooLarge,
    ServerError,
    UnsupportedMediaType,
)
from crossmodal.imaging import ImageLimits, prepare
from crossmodal.imaging import decoder as decoder_module
from crossmodal.imaging.decoder import Decoder
from crossmodal.imaging.prepare import Prepared
from crossmodal.records import DecoderLoss, Preprocessing, Profile
from tests.pictures import BLUE, RED, encoded, many_scans, photograph, png_bomb, quadrants, solid

ROOT = Path(__file__).resolve().parents[3]
PREPARING = Preprocessing(64, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
SMALL = encoded(solid(RED), "PNG")


@pytest.fixture(scope="module")
def shared() -> Iterator[Decoder]:
    """A decoder for tests that leave it alive."""
    decoder = Decoder(ImageLimits(max_bytes=10**6), 60)
    yield decoder
    decoder.close()


@pytest.fixture
def lost() -> list[DecoderLoss]:
    return []


@pytest.fixture
def decoder(lost: list[DecoderLoss]) -> Iterator[Decoder]:
    """A decoder of its own, with little patience."""
    decoder = Decoder(ImageLimits(), 0.5, lost.append)
    yield decoder
    decoder.close()


def is_red(pixels: np.ndarray) -> bool:
    return bool((pixels == RED).all())


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state in "ZX":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("profile", get_args(Profile))
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "L", "I;16"])
def test_the_answer_is_that_of_prepare(shared: Decoder, mode: str, profile: Profile) -> None:
    image = photograph(200, 120).convert("L" if mode == "I;16" else mode).convert(mode)
    content = encoded(image, "PNG")
    wanted = Preprocessing(64, "bicubic", "shortest", (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 3, profile)
    expected = prepare(content, wanted, thumbnail=True)
    made = shared.prepare(content, wanted, thumbnail=True)
    assert np.array_equal(made.pixels, expected.pixels)
    assert made.pixels.flags.writeable
    assert made.thumbnail == expected.thumbnail != b""
    assert (made.width, made.height) == (200, 120)
    assert shared.prepare(content, wanted).thumbnail == b""


@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
@pytest.mark.parametrize(("size", "side"), [((91, 32), 224), ((62, 1), 225), ((45, 6), 226), ((240, 45), 63)])
def test_a_small_picture_costs_no_decoder(
    decoder: Decoder, lost: list[DecoderLoss], size: tuple[int, int], side: int, mode: Any
) -> None:
    # The first pixel of the crop lies on one of the picture's: there the quick resizer reads memory that is not its own.
    wanted = Preprocessing(side, "bicubic", mode, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), 3, "fast")
    assert decoder.prepare(encoded(photograph(*size), "PNG"), wanted).pixels.shape == (side, side, 3)
    assert not lost


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (png_bomb(), ImageTooLarge, "50000 x 50000"),
        (b"%PDF-1.7", UnsupportedMediaType, "PDF"),
        (b"", ImageUndecodable, "0 bytes"),
        (encoded(photograph(64, 64), "JPEG")[:-200], ImageUndecodable, "ends before its last pixel"),
        (bytes(10**6 + 1), PayloadTooLarge, "1000001 bytes"),
    ],
)
@pytest.mark.parametrize("profile", get_args(Profile))
def test_errors_come_back_as_they_were(
    shared: Decoder, content: bytes, kind: type[Exception], words: str, profile: Profile
) -> None:
    with pytest.raises(kind, match=words):
        shared.prepare(content, replace(PREPARING, profile=profile))
    assert is_red(shared.prepare(SMALL, PREPARING).pixels)


def test_the_process_lives_on_between_pictures_good_and_bad(shared: Decoder) -> None:
    shared.start()
    before = shared.pid
    for content in (SMALL, png_bomb(), b"", SMALL):
        with suppress(ImageTooLarge, ImageUndecodable):
            shared.prepare(content, PREPARING)
    assert shared.pid == before


def test_it_inherits_no_secrets_and_knows_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CROSSMODAL_STORE_API_KEY", "s3cret")
    own = Decoder(ImageLimits(), 60)
    try:
        own.start()
        environment = Path(f"/proc/{own.pid}/environ").read_bytes()
        assert b"s3cret" not in environment
        assert b"CROSSMODAL" not in environment
        targets = [str(path.readlink()) for path in Path(f"/proc/{own.pid}/fd").iterdir()]
        assert sorted({target.partition(":")[0] for target in targets}) == ["/dev/null", "pipe"]
        assert len(targets) == 5  # the input, silence for both outputs and its spare, the answers
        maps = Path(f"/proc/{own.pid}/maps").read_text(encoding="utf-8")
        assert "_imaging" in maps
        assert "torch" not in maps
    finally:
        own.close()


def test_a_slow_picture_is_ended_and_the_next_one_is_read(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    content = many_scans(90)
    decoder.start()
    first = decoder.pid
    with pytest.raises(ImageUndecodable, match=r"takes too long to decode: over 0\.5 s"):
        decoder.prepare(content, PREPARING)
    assert lost == [DecoderLoss.DEADLINE]
    assert first is not None
    assert gone(first)
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)
    assert decoder.pid != first


def test_a_process_that_hangs_beyond_its_own_timer_is_killed(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    decoder.start()
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGSTOP)
    # Nobody can say that it was the picture's fault: it has used no CPU time.
    with pytest.raises(DeadlineExceeded, match="in time"):
        decoder.prepare(SMALL, PREPARING)
    assert lost == [DecoderLoss.DEADLINE]
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def reading_while_sent(decoder: Decoder, number: signal.Signals, pool: ThreadPoolExecutor) -> Future[Prepared]:
    """A picture is being read by a process that gets the signal ``number`` meanwhile."""
    decoder.start()
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGSTOP)  # so that the order is there before the signal
    reading = pool.submit(decoder.prepare, SMALL, PREPARING)
    time.sleep(0.1)
    os.kill(decoder.pid, number)
    os.kill(decoder.pid, signal.SIGCONT)
    return reading


def test_a_picture_that_crashes_the_process_fails_alone(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    with ThreadPoolExecutor(1) as pool:
        reading = reading_while_sent(decoder, signal.SIGSEGV, pool)
        with pytest.raises(ImageUndecodable, match="breaks the decoder"):
            reading.result(20)
    assert lost == [DecoderLoss.CRASH]
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def test_a_picture_whose_process_somebody_kills_is_read_by_another(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    with ThreadPoolExecutor(1) as pool:
        assert is_red(reading_while_sent(decoder, signal.SIGKILL, pool).result(20).pixels)
    assert lost == [DecoderLoss.KILLED]


def test_where_every_process_is_killed_the_picture_is_not_blamed(
    decoder: Decoder, lost: list[DecoderLoss], monkeypatch: pytest.MonkeyPatch
) -> None:
    send = decoder_module._send

    def sent(process: subprocess.Popen[bytes], *what: Any) -> None:
        send(process, *what)
        process.kill()

    monkeypatch.setattr(decoder_module, "_send", sent)
    with pytest.raises(Overloaded, match="ended from outside"):
        decoder.prepare(many_scans(90), PREPARING)
    assert lost == [DecoderLoss.KILLED, DecoderLoss.KILLED]
    monkeypatch.undo()
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def test_a_process_that_died_between_pictures_costs_none(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    decoder.start()
    assert decoder.pid is not None
    os.kill(decoder.pid, signal.SIGKILL)
    assert gone(decoder.pid)
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)
    assert lost == []


@dataclass(frozen=True, slots=True)
class UnknownPreprocessing(Preprocessing):
    """One that the process cannot take: it stands for a fault of the program."""

    unknown: int = 1


def test_a_fault_of_the_program_is_no_fault_of_the_picture(decoder: Decoder, lost: list[DecoderLoss]) -> None:
    wanted = UnknownPreprocessing(64, "bicubic", "shortest", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with pytest.raises(ServerError, match="a fault of this service") as caught:
        decoder.prepare(SMALL, wanted)
    assert "unexpected keyword argument 'unknown'" in str(caught.value.__cause__)
    assert lost == [DecoderLoss.FAULT]
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def test_signals_for_the_whole_group_do_not_end_it(decoder: Decoder) -> None:
    decoder.start()
    pid = decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)
    assert decoder.pid == pid


def test_close_ends_the_process_and_what_it_does() -> None:
    decoder = Decoder(ImageLimits(), 60)
    decoder.start()
    pid = decoder.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(decoder.prepare, SMALL, PREPARING)
        time.sleep(0.1)
        decoder.close()
        with pytest.raises(Overloaded, match="stopping"):
            reading.result(20)
    assert gone(pid)
    with pytest.raises(Overloaded, match="stopping"):
        decoder.prepare(SMALL, PREPARING)
    with pytest.raises(Overloaded, match="stopping") as refused:
        decoder.start()
    assert refused.value.shed == "ending"
    decoder.close()


def test_close_before_the_start() -> None:
    decoder = Decoder(ImageLimits(), 60)
    decoder.close()
    assert decoder.pid is None


def test_a_process_that_cannot_start_is_the_services_fault(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(ServerError, match="can be started"):
        decoder.prepare(SMALL, PREPARING)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerError, match="can be started"):
        decoder.prepare(SMALL, PREPARING)
    monkeypatch.undo()
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def test_a_process_that_was_lost_while_it_started_is_started_once_more(
    decoder: Decoder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, python = tmp_path / "begun", tmp_path / "python"
    python.write_text(f'#!/bin/sh\nif mkdir {begun}; then kill -9 $$; fi\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with capture_logs() as logs:
        assert is_red(decoder.prepare(SMALL, PREPARING).pixels)
    assert begun.is_dir()
    assert [line["event"] for line in logs] == ["decoder lost while starting"]


def test_where_every_process_is_killed_while_it_starts_the_service_is_not_blamed(
    decoder: Decoder, lost: list[DecoderLoss], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nkill -9 $$\n")
    python.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(Overloaded, match="ended from outside"):
        decoder.prepare(SMALL, PREPARING)
    assert set(lost) == {DecoderLoss.KILLED}
    with pytest.raises(ServerError, match="can be started"):
        decoder.start()
    monkeypatch.undo()
    assert is_red(decoder.prepare(SMALL, PREPARING).pixels)


def test_a_process_that_ends_after_a_picture_took_its_memory_does_not_cost_the_next_one(
    decoder: Decoder, lost: list[DecoderLoss], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a smaller and busier machine: a worker allows itself less memory, and takes a while to end.
    little = (
        "import atexit, time, crossmodal.imaging.worker as w; atexit.register(time.sleep, 0.3);"
        "w.memory_for = lambda limits: 240 * 2**20; w.main()"
    )
    popen = subprocess.Popen

    def with_little_memory(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        return popen([command[0], "-P", "-c", little, command[-1]], **options)

    monkeypatch.setattr(subprocess, "Popen", with_little_memory)
    large = encoded(solid(RED, (6900, 6900)), "PNG")
    for _ in range(3):
        with pytest.raises(ImageTooLarge):
            decoder.prepare(large, PREPARING)
        assert is_red(decoder.prepare(SMALL, PREPARING).pixels)
    assert lost == []


def run(script: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


PARENT = """
import sys, time
from pathlib import Path
from typing import get_args
from crossmodal.imaging import ImageLimits
from crossmodal.imaging import decoder as decoder_module
from crossmodal.imaging.decoder import Decoder
from crossmodal.imaging.prepare import Prepared
from tests.unit.imaging.test_decoder import PREPARING
decoder = Decoder(ImageLimits(), 2)
decoder.start()
print(decoder.pid, flush=True)
if sys.argv[1:]:
    decoder.prepare(Path(sys.argv[1]).read_bytes(), PREPARING)
time.sleep(60)
"""


@pytest.mark.parametrize("busy", [False, True])
def test_no_process_outlives_a_service_that_was_killed(tmp_path: Path, busy: bool) -> None:  # noqa: FBT001
    (tmp_path / "slow").write_bytes(many_scans(90))
    parent = run(PARENT, *([str(tmp_path / "slow")] if busy else []))
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    time.sleep(0.1)
    assert Path(f"/proc/{child}").exists()
    parent.kill()
    parent.communicate()
    assert gone(child)


CONFINED = """
import sys
from pathlib import Path
from typing import get_args
from crossmodal.errors import ImageTooLarge
from crossmodal.imaging import worker
from tests.unit.imaging.test_decoder import PREPARING, SMALL
from crossmodal.imaging import prepare
import resource
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
worker.confine(used + 100_000_000)
print(prepare(SMALL, PREPARING).width)
try:
    prepare(Path(sys.argv[1]).read_bytes(), PREPARING)
except ImageTooLarge as error:
    print(error.detail)
try:
    Path(sys.argv[1] + "-more").write_bytes(b"1")
except OSError as error:
    print(error.errno)
"""


def test_memory_and_files_are_bounded(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(encoded(Image.new("RGB", (6000, 6000), BLUE), "PNG"))
    child = run(CONFINED, str(tmp_path / "large"))
    out, err = child.communicate(timeout=60)
    assert out.splitlines() == ["16", "The picture has more pixels than can be decoded here.", "27"], err


def test_every_thread_may_ask_though_one_at_a_time(shared: Decoder) -> None:
    contents = [encoded(solid(colour), "PNG") for colour in (RED, BLUE)] * 4
    found: list[tuple[int, ...]] = [()] * len(contents)

    def read(place: int) -> Callable[[], None]:
        def run_once() -> None:
            found[place] = tuple(int(value) for value in shared.prepare(contents[place], PREPARING).pixels[0, 0])

        return run_once

    threads = [threading.Thread(target=read(place)) for place in range(len(contents))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [RED, BLUE] * 4


def test_quadrants_stay_where_they_are(shared: Decoder) -> None:
    pixels = shared.prepare(encoded(quadrants(64, 64), "PNG"), PREPARING).pixels
    assert tuple(pixels[2, 2]) == RED
    assert tuple(pixels[60, 2]) == BLUE
