"""OpenAI's own client against the running service: what it asks, and what it makes of what is refused."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest
from openai.types import CreateEmbeddingResponse

from crossmodal.imaging import to_base64
from crossmodal.records import Embeddings
from tests.e2e.conftest import SAMPLES
from tests.e2e.keyed import keyed_service
from tests.keys import entry
from tools.servers import Server

pytestmark = pytest.mark.e2e

TEXTS = ["three bananas on a blue background", "a dog on a red background"]


def client_of(url: str, key: str = "none") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with client_of(server.url) as client:
        yield client


def vectors(answer: CreateEmbeddingResponse) -> Embeddings:
    return np.array([each.embedding for each in answer.data], dtype=np.float32)


def test_embeddings_are_those_of_the_service(client: openai.OpenAI, server: Server) -> None:
    asked = client.embeddings.create(model="tiny", input=TEXTS)  # in base64, as the client does by itself
    plain = client.embeddings.create(model="tiny", input=TEXTS, encoding_format="float")
    own = httpx.post(f"{server.url}/embed/texts", json={"texts": TEXTS}, timeout=60).json()
    for answer in (asked, plain):
        np.testing.assert_allclose(vectors(answer), own["embeddings"], atol=1e-6)
        assert [each.index for each in answer.data] == [0, 1]
        assert (answer.object, answer.model, answer.data[0].object) == ("list", "tiny", "embedding")
        assert answer.usage.prompt_tokens == answer.usage.total_tokens == sum(own["tokens_used"])
    one = client.embeddings.create(model="tiny", input=TEXTS[0], dimensions=256, user="somebody")
    np.testing.assert_allclose(vectors(one)[0], own["embeddings"][0], atol=1e-3)


def test_a_picture_is_near_its_sentence(client: openai.OpenAI) -> None:
    bare = to_base64((SAMPLES / "images" / "three-bananas-on-a-blue-background.webp").read_bytes())
    picture = f"data:image/webp;base64,{bare}"
    right, wrong, shown = vectors(client.embeddings.create(model="tiny", input=[*TEXTS, picture]))
    assert right @ shown > wrong @ shown + 0.2
    said = client.embeddings.create(model="tiny", input=bare, extra_body={"modality": "image"})
    np.testing.assert_allclose(vectors(said)[0], shown, atol=1e-3)


def test_models_are_listed_and_found(client: openai.OpenAI) -> None:
    (listed,) = client.models.list()
    assert listed.id == "tiny"
    assert client.models.retrieve("tiny") == listed
    with pytest.raises(openai.NotFoundError, match="'ViT-B-32/laion2b' here; 'tiny' is served"):
        client.models.retrieve("ViT-B-32/laion2b")


def test_what_is_refused_can_be_read_in_the_clients_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="there is no model 'text-embedding-3-small' here") as unknown:
        client.embeddings.create(model="text-embedding-3-small", input="a")
    assert (unknown.value.code, unknown.value.param) == ("not_found", "model")
    assert unknown.value.type == "invalid_request_error"
    with pytest.raises(openai.UnprocessableEntityError, match="send strings") as tokens:
        client.embeddings.create(model="tiny", input=[[320, 1929]])
    assert (tokens.value.code, tokens.value.param) == ("validation_failed", "input")
    assert tokens.value.request_id == tokens.value.response.json()["request_id"]
    with pytest.raises(openai.UnprocessableEntityError, match="256") as dimensions:
        client.embeddings.create(model="tiny", input="a", dimensions=512)
    assert dimensions.value.param == "dimensions"
    with pytest.raises(openai.UnprocessableEntityError, match="is empty") as blank:
        client.embeddings.create(model="tiny", input=["a", " "])
    assert blank.value.param == "input.1"


def test_keys_and_rates_are_told_in_the_clients_errors(tmp_path: Path) -> None:
    """Against a service in a thread of this process, whose model understands colours."""
    keys = (entry("cms_reader", name="reader"), entry("cms_writer", name="writer", scopes=["write"]))
    with keyed_service(tmp_path, *keys, entry("cms_slow", name="slow", rate=0.01, burst=2)) as url:
        with client_of(url, "cms_reader") as reader:
            assert reader.embeddings.create(model="colours", input="red").usage.prompt_tokens == 1
            assert [each.id for each in reader.models.list()] == ["colours"]
        with (
            client_of(url, "cms_nobody") as nobody,
            pytest.raises(openai.AuthenticationError, match="not known") as key,
        ):
            nobody.models.list()
        assert (key.value.code, key.value.type) == ("unauthorized", "authentication_error")
        with client_of(url, "cms_writer") as writer, pytest.raises(openai.PermissionDeniedError, match="scope 'read'"):
            writer.models.list()
        with client_of(url, "cms_slow") as slow:
            slow.embeddings.create(model="colours", input=["red", "blue"])
            with pytest.raises(openai.RateLimitError, match="units of work") as limited:
                slow.embeddings.create(model="colours", input="red")
        assert limited.value.code == "rate_limited"
        assert int(limited.value.response.headers["retry-after"]) > 0
