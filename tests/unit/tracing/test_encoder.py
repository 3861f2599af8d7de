"""A trace goes on where the encoder is, over real sockets."""

import asyncio

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from crossmodal import tracing
from crossmodal.encoder import RemoteEncoder
from crossmodal.encoder.over_http import HttpCall
from crossmodal.encoder.serving import EncoderApp
from crossmodal.encoder.traced import TracedEncoder
from crossmodal.errors import ModelUnavailable
from tests.asgi import serving
from tests.fakes import FaultyEncoder
from tests.spans import OUTER, identity, recording


async def ask(encoder: RemoteEncoder, flags: str = "01") -> None:
    headers = [(b"traceparent", (OUTER[:-2] + flags).encode())]
    with tracing.request("POST", headers, name="outside"):
        await encoder.embed_texts(["a secret text", "another"])


async def test_the_encoders_part_hangs_below_the_call() -> None:
    there = FaultyEncoder()
    app = EncoderApp(max_bytes=100_000, timeout=10)
    app.encoder = there
    async with serving(TracedEncoder(app)) as url:
        call = HttpCall(url, timeout=10)
        encoder = RemoteEncoder(call, every=0.01, closing=call.close)
        with recording() as recorded:
            await ask(encoder)
            await asyncio.sleep(0.1)  # some signs of life, which are no work
            await ask(encoder, flags="00")
        embed = [span for span in recorded.all() if span.name == "embed"]
        (calling,) = [span for span in embed if span.kind is SpanKind.CLIENT]
        served = recorded.named("embed_texts")
        assert recorded.below("outside") == ["embed"]
        assert calling.attributes == {
            "crossmodal.kind": "text",
            "crossmodal.lane": "interactive",
            "crossmodal.items": 2,
            "crossmodal.model": "colours",
        }
        assert served.parent is not None
        assert (served.parent.span_id, served.kind) == (identity(calling), SpanKind.SERVER)
        assert served.attributes == {"http.request.method": "POST", "http.response.status_code": 200}
        assert recorded.below("embed_texts") == ["queue", "embed"]
        traces = {span.context.trace_id for span in recorded.all() if span.context and span.name != "batch of texts"}
        assert [f"{trace:032x}" for trace in traces] == [OUTER.split("-")[1]]
        assert "secret" not in recorded.text()
        await encoder.close()
    await there.close()


async def test_a_call_that_fails_is_marked_on_both_ends() -> None:
    there = FaultyEncoder()
    app = EncoderApp(max_bytes=100_000, timeout=10)
    app.encoder = there
    async with serving(TracedEncoder(app)) as url:
        call = HttpCall(url, timeout=10)
        encoder = RemoteEncoder(call, every=60, closing=call.close)
        await encoder.info()
        there.fault = RuntimeError("secret")
        with recording() as recorded, pytest.raises(ModelUnavailable):
            await ask(encoder)
        calling, served, outside = (recorded.named(name) for name in ("embed", "embed_texts", "outside"))
        assert {span.status.status_code for span in (calling, served, outside)} == {StatusCode.ERROR}
        assert calling.attributes is not None
        assert served.attributes is not None
        assert (calling.attributes["error.type"], served.attributes["error.type"]) == (
            "model_unavailable",
            "internal_error",
        )
        assert "secret" not in recorded.text()
        await encoder.close()
        there.fault = None
    await there.close()
