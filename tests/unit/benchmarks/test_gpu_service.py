"""The benchmark of the service on a GPU machine: its shapes and requests, and all of it in small on the CPU."""

import json
from email.parser import BytesParser
from pathlib import Path

import pytest

from benchmarks import gpu_service
from benchmarks.gpu_service import Shape, bulk, shapes


def test_shapes_leave_cores_for_what_is_not_decoding() -> None:
    for cores in (1, 2, 4, 16, 64):
        found = shapes(cores)
        assert found[0].apis == 1
        assert all(shape.apis * shape.decoders <= max(1, cores - 2) for shape in found)
    assert [(shape.apis, shape.decoders) for shape in shapes(16)] == [(1, 14), (2, 7), (4, 3), (6, 2)]


def test_several_api_processes_get_an_encoder_of_their_own() -> None:
    assert Shape(1, 3, profile="standard").settings() == {
        "ENCODER": "local",
        "DECODE_WORKERS": "3",
        "PREPROCESSING": "standard",
    }
    assert Shape(4, 2).settings()["ENCODER"] == "service"
    assert Shape(4, 2).settings()["API_WORKERS"] == "4"
    assert Shape(4, 2).settings()["ENCODER_WORKERS"] == "1"
    assert Shape(4, 2, 3).settings()["ENCODER_WORKERS"] == "3"


def test_a_bulk_request_has_so_many_pictures_and_no_two_have_the_same_order() -> None:
    pictures = [f"picture {number}".encode() for number in range(8)]
    made = bulk(pictures, 4)
    orders = []
    for request in made:
        head, _, body = request.partition(b"\r\n\r\n")
        kind = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-type"))
        parts = BytesParser().parsebytes(kind + b"\r\n\r\n" + body).get_payload()
        assert isinstance(parts, list)
        assert {part.get_param("name", header="content-disposition") for part in parts} == {"files"}  # type: ignore[union-attr]  # messages
        orders.append(tuple(part.get_payload(decode=True) for part in parts))  # type: ignore[union-attr]  # the same
    assert orders[0] == tuple(pictures[:4])
    assert {len(order) for order in orders} == {4}
    assert len(set(orders)) == len(orders) == 4


@pytest.mark.e2e
def test_everything_runs_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results" / "gpu_service.json"
    small = [
        "--device",
        "cpu",
        "--model",
        "tiny",
        "--shape",
        "2",
        "1",
        "2",
        "--seconds",
        "0.3",
        "--items",
        "3",
        "--clients",
        "1",
        "2",
    ]
    assert gpu_service.main([*small, "--out", str(out)]) == 0
    ((shape, found),) = json.loads(out.read_text())["shapes"].items()
    assert shape == "2 API processes and 2 encoders, 2 x 1 decoders, fast"
    printed = capsys.readouterr().out
    for what in (
        "pictures, 3 a request, 1 clients",
        "pictures, 3 a request, 2 clients",
        "pictures, one a request, 128 clients",
        "a lone picture",
        "texts, one a request, 128 clients",
        "a lone text",
    ):
        assert what in printed
        assert found[what]["failed"] == 0
        assert found[what]["items_a_second"] > 0
    bulk_by_two = found["pictures, 3 a request, 2 clients"]
    assert bulk_by_two["items_a_second"] == pytest.approx(3 * bulk_by_two["rate"])
    assert bulk_by_two["clients"] == 2
    assert {"api", "encoder", "decoders"} <= found["memory"].keys()
