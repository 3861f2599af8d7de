"""Whether the service's memory grows: `python -m benchmarks.soak [--requests 100000]`.

ViT-B-32 with random weights, exported, in the API's process. Many clients send searches by new texts and by known ones, and
every fiftieth request is a picture, until so many were answered; memory is looked at all along. Printed: memory of the
whole service after the first tenth and at the end, and the slope by least squares over what came after the first tenth.
"""

import argparse
import itertools
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.contenders import ours
from benchmarks.driving import Driver, Load
from benchmarks.inputs import captions, photographs, random_model
from benchmarks.queries import search
from crossmodal.clip.exporting import export_model
from tools.load import multipart, request_bytes
from tools.servers import end_as_if_interrupted

CLIENTS = 32
SECONDS = 10.0
PICTURE_EVERY = 50
TEXTS = 60_000
"""More than are asked in most runs; with the same ones again, the memory of embeddings answers."""
WARM = 0.1


def requests() -> list[bytes]:
    """New texts, texts that come again, and pictures."""
    texts, pictures = captions(TEXTS), itertools.cycle(photographs(64))
    made = []
    for number, text in enumerate(texts):
        if number % PICTURE_EVERY == 0:
            made.append(request_bytes("POST", "/embed/images", *multipart(next(pictures), "files")))
        else:
            made.append(search(text if number % 2 else texts[number % 500]))
    return made


def main() -> None:
    """Measure, and print a line for each stretch and one for all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    wanted = parser.parse_args().requests
    end_as_if_interrupted()
    with tempfile.TemporaryDirectory() as name, Driver() as driver:
        folder = Path(name)
        source = random_model(folder / "source")
        export = export_model(source, out=folder / "export", exports=folder)
        contender = ours("soak", folder / "serving", MODEL=f"local-dir:{export}", CACHE_BYTES=str(2**24))
        try:
            contender.server.wait_until_ready()
            sent, done, failed = requests(), 0, 0
            seen: list[tuple[int, float]] = [(0, sum(contender.memory().values()))]
            while done < wanted:
                at = done % len(sent)
                figures = driver.drive(contender, sent[at:] + sent[:at], Load(SECONDS, clients=CLIENTS))
                done, failed = done + figures.answered, failed + figures.failed
                seen.append((done, sum(contender.memory().values())))
                print(json.dumps({"requests": done, "failed": failed, "mb": round(seen[-1][1], 1)}), flush=True)
            roles = contender.memory()
        finally:
            contender.server.stop()
    warm = [each for each in seen if each[0] >= WARM * wanted]
    if len(warm) < 2:
        raise SystemExit("too few requests to say anything of memory")
    counts, sizes = np.array(warm).T
    slope = float(np.polyfit(counts, sizes, 1)[0])
    print(
        json.dumps(
            {
                "requests": done, "failed": failed, "mb_warm": round(warm[0][1], 1), "mb_end": round(warm[-1][1], 1),
                "bytes_a_request": round(slope * 1e6, 1), "by_process": {role: round(mb) for role, mb in roles.items()},
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
