"""The service with an exported model: no torch in its process, and the collections that PyTorch's embeddings made."""

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from crossmodal.clip.loading import load_model
from crossmodal.clip.spec import BUNDLED
from crossmodal.imaging import prepare
from tests.e2e.conftest import SAMPLES, small_gallery
from tools.servers import Server, run_indexer

pytestmark = pytest.mark.e2e

QUERIES = ["three bananas on a blue background", "a banana", "an umbrella"]


def best(server: Server) -> list[tuple[str, float]]:
    """The first hit of each query, and its score."""
    found = []
    for query in QUERIES:
        body = {"query": query, "n_results": 1}
        answer = httpx.post(f"{server.url}/search/text-to-image", json=body, timeout=30).raise_for_status().json()
        found.append((answer["results"][0]["id"], answer["results"][0]["score"]))
    return found


def libraries(server: Server) -> set[str]:
    """Which of the two runtimes' libraries the process of the API has loaded."""
    (worker,) = server.workers("CrossModalSearch")
    mapped = " ".join(region.path for region in psutil.Process(worker).memory_maps())
    return {name for name in ("libtorch", "libopenvino") if name in mapped}


def model_of(server: Server) -> dict[str, str]:
    stats = httpx.get(f"{server.url}/stats", timeout=30).raise_for_status().json()
    return {name: stats[name] for name in ("model", "fingerprint", "device", "precision")}


def weights_alone(folder: Path) -> Path:
    """The bundled model without the export that lies beside it."""
    return Path(shutil.copytree(BUNDLED["tiny"], folder, ignore=shutil.ignore_patterns("openvino_*")))


def test_an_export_serves_what_pytorch_indexed(tmp_path: Path) -> None:
    gallery, weights = small_gallery(tmp_path / "gallery"), f"local-dir:{weights_alone(tmp_path / 'weights')}"
    server = Server(tmp_path, DEVICE="cpu", MODEL=weights, SAMPLES=str(gallery))
    try:
        server.wait_until_ready()
        by_torch, model, loaded = best(server), model_of(server), libraries(server)
    finally:
        server.stop()
    assert loaded == {"libtorch"}

    exported = run_indexer(tmp_path, "export", "--model", weights, DEVICE="cpu")
    assert exported.returncode == 0, exported.stderr
    assert (Path(exported.stdout.splitlines()[-1]) / "openvino_export.json").is_file()

    server = Server(tmp_path, DEVICE="cpu", MODEL=weights)
    try:
        server.wait_until_ready()
        by_openvino, other_model, loaded = best(server), model_of(server), libraries(server)
    finally:
        server.stop()
    assert loaded == {"libopenvino"}
    assert other_model == model
    assert [hit for hit, _ in by_openvino] == [hit for hit, _ in by_torch]
    for (_, one), (_, other) in zip(by_openvino, by_torch, strict=True):
        assert one == pytest.approx(other, abs=0.02)


def test_a_damaged_export_ends_the_server_with_one_line(tmp_path: Path) -> None:
    exported = run_indexer(tmp_path, "export", "--out", str(tmp_path / "model"), DEVICE="cpu")
    assert exported.returncode == 0, exported.stderr
    weights = tmp_path / "model" / "openvino_text.bin"
    weights.write_bytes(weights.read_bytes()[:-1])
    server = Server(tmp_path, DEVICE="cpu", MODEL=f"local-dir:{tmp_path / 'model'}")
    try:
        assert server.process.wait(60) == 78
    finally:
        server.stop()
    refusals = [line for line in server.log.splitlines() if "cannot start" in line]
    assert len(refusals) == 1
    assert "openvino_text.bin of its export is damaged" in json.loads(refusals[0])["detail"]


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path) -> None:
    outcome = run_indexer(tmp_path, "export", "--model", f"local-dir:{tmp_path / 'nowhere'}")
    assert outcome.returncode == 2
    assert outcome.stderr.splitlines()[-1].startswith("indexer: Model local-dir:nowhere: there is no folder")


INT8 = ["--int8", "--pictures", str(SAMPLES / "images"), "--texts", str(SAMPLES / "captions.jsonl")]


def embeddings(server: Server, texts: list[str], pictures: list[Path]) -> Any:
    """What the service makes of texts and pictures, a row for each."""
    given = {"texts": texts, "images": [base64.b64encode(path.read_bytes()).decode() for path in pictures]}
    answers = [
        httpx.post(f"{server.url}/embed/{kind}", json={kind: items}, timeout=30).raise_for_status().json()
        for kind, items in given.items()
    ]
    return np.concatenate([np.array(answer["embeddings"], np.float32) for answer in answers])


def test_int8_is_served_when_asked_for_on_collections_of_its_own(tmp_path: Path) -> None:
    gallery = small_gallery(tmp_path / "gallery")
    pictures = sorted((gallery / "images").glob("*.webp"))[:20]
    exported = run_indexer(tmp_path, "export", *INT8, DEVICE="cpu")
    assert exported.returncode == 0, exported.stderr
    *table, folder = exported.stdout.splitlines()
    report = json.loads((Path(folder) / "openvino_int8_quality.json").read_text())
    assert report["calibrated_on"] == {"pictures": 220, "texts": 218}
    assert report["held_out"] == {"pictures": 221, "texts": 218}
    assert min(report["pictures"]["p1"], report["texts"]["p1"]) >= 0.99
    shown = [f"{report[kind][part]:.4f}" for kind in ("pictures", "texts") for part in ("least", "p1", "p5", "p50")]
    assert [word for line in table for word in line.split() if word in shown] == shown
    assert sum(line.startswith("recall@") for line in table) == 3

    server = Server(tmp_path, DEVICE="cpu", PRECISION="int8", SAMPLES=str(gallery))
    try:
        server.wait_until_ready()
        body = {"query": QUERIES[0], "n_results": 1}
        found = httpx.post(f"{server.url}/search/text-to-image", json=body, timeout=30).raise_for_status().json()
        int8, loaded = model_of(server), libraries(server)
        ours = embeddings(server, QUERIES, pictures)
    finally:
        server.stop()
    assert (int8["precision"], loaded) == ("int8", {"libopenvino"})
    assert found["results"][0]["metadata"]["caption"] == QUERIES[0]

    fp32 = load_model("tiny", device="cpu", precision="fp32", exports=tmp_path / "data" / "exports")
    pixels = np.stack([prepare(path.read_bytes(), fp32.info.preprocessing).pixels for path in pictures])
    cosines = (ours * np.concatenate([fp32.embed_texts(QUERIES).embeddings, fp32.embed_pixels(pixels)])).sum(axis=1)
    assert fp32.info.fingerprint != int8["fingerprint"]
    assert 0.97 <= cosines.min() <= cosines.max() <= 1.00001
    assert 0.99 <= np.median(cosines) < 0.999999

    refused = Server(tmp_path, DEVICE="cpu")
    try:
        assert refused.process.wait(60) == 78
    finally:
        refused.stop()
    assert int8["fingerprint"][:8] in refused.log


def test_int8_without_its_export_ends_the_server_with_one_line(tmp_path: Path) -> None:
    server = Server(tmp_path, DEVICE="cpu", PRECISION="int8")
    try:
        assert server.process.wait(60) == 78
    finally:
        server.stop()
    (refusal,) = [line for line in server.log.splitlines() if "cannot start" in line]
    assert json.loads(refusal)["detail"] == (
        "Model tiny has no int8 export; make one: python -m indexer export --model tiny --int8 --pictures FOLDER --texts FILE."
    )
