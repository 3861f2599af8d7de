from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from crossmodal.encoder import BatchLimits, CachedEncoder, LocalEncoder
from crossmodal.encoder.serving import EncoderApp
from crossmodal.errors import (
    ConfigurationError,
    DeadlineExceeded,
    FingerprintMismatch,
    ImageTooLarge,
    ImageUndecodable,
    StoreUnavailable,
    ValidationFailed,
)
from crossmodal.settings import BatcherKind, EncoderPlace, PreprocessingProfile, Settings, UrlFetching
from crossmodal.startup import build_model
from crossmodal.store.exact import ExactStore
from crossmodal.wiring import build_container, build_fetcher, build_remote_encoder, build_store, with_cache
from tests.asgi import serving
from tests.fakes import ColourModel
from tests.pictures import many_scans, png_bomb


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("memory:", "ExactStore"),
        ("edge:{}/store", "EdgeStore"),
        ("http://127.0.0.1:6333", "QdrantStore"),
        ("https://127.0.0.1:6333", "QdrantStore"),
        ("grpc://127.0.0.1:6334", "QdrantStore"),
    ],
)
def test_the_url_chooses_the_store(tmp_path: Path, url: str, kind: str) -> None:
    assert type(build_store(Settings(store=url.format(tmp_path)))).__name__ == kind


@pytest.mark.parametrize("url", ["redis://127.0.0.1", "somewhere", "file:///tmp"])
def test_another_url_is_refused_with_those_known(url: str) -> None:
    with pytest.raises(ConfigurationError, match="edge:PATH, memory:"):
        build_store(Settings(store=url))


def test_nothing_fetches_unless_switched_on() -> None:
    assert build_fetcher(Settings()) is None
    assert build_fetcher(Settings(fetch_hosts=("example.org",))) is None
    with pytest.raises(ConfigurationError, match="CROSSMODAL_FETCH_HOSTS: the entry 'http://a'"):
        build_fetcher(Settings(fetch_hosts=("http://a",)))


@pytest.mark.parametrize(
    ("mode", "url", "refusal"),
    [
        (UrlFetching.ALLOWED, "http://elsewhere.example/", "not among those"),
        (UrlFetching.ALLOWED, "http://10.0.0.1/", "does not answer"),  # listed, but not as private
        (UrlFetching.PUBLIC, "http://127.0.0.1/", "does not answer"),
        (UrlFetching.PUBLIC, "http://192.0.2.1:8080/", "only 80 and 443"),
    ],
)
async def test_a_fetcher_keeps_to_the_settings(mode: UrlFetching, url: str, refusal: str) -> None:
    fetcher = build_fetcher(Settings(fetch_urls=mode, fetch_hosts=("10.0.0.1",)))
    assert fetcher is not None
    with pytest.raises(ValidationFailed, match=refusal):
        await fetcher.fetch(url, lambda _: None)
    fetcher.close()


@pytest.mark.parametrize("profile", [PreprocessingProfile.REFERENCE, PreprocessingProfile.FAST])
def test_the_profile_of_preprocessing_reaches_the_model(profile: PreprocessingProfile) -> None:
    model = build_model(Settings(model="tiny", device="cpu", preprocessing=profile))
    assert model.info.preprocessing.profile == profile.value


async def test_the_decoding_settings_reach_the_processes(tmp_path: Path) -> None:
    settings = Settings(store="memory:", data=tmp_path, decode_workers=1, decode_timeout=0.25, max_image_pixels=10**8)
    container = build_container(settings, LocalEncoder(ColourModel(), BatchLimits()))
    await container.open()
    try:
        preprocessing = (await container.encoder.info()).preprocessing
        # On a busy machine its CPU time is not used up when thrice that has passed by the clock.
        with pytest.raises((ImageUndecodable, DeadlineExceeded), match=r"over 0\.25 s|decoded in time"):
            await container.pictures.read(many_scans(90), preprocessing)
        with pytest.raises(ImageTooLarge, match="at most 100000000 in all"):
            await container.pictures.read(png_bomb(), preprocessing)
    finally:
        await container.close()


async def test_what_was_embedded_is_kept_unless_that_is_switched_off(tmp_path: Path) -> None:
    for cache_bytes, batches in ((0, [1, 1]), (10_000, [1])):
        model = ColourModel()
        settings = Settings(store="memory:", data=tmp_path, cache_bytes=cache_bytes)
        container = build_container(settings, LocalEncoder(model, BatchLimits()))
        for _ in range(2):
            await container.encoder.embed_texts(["red"])
        assert model.batches == batches
        await container.close()


def test_nothing_is_kept_where_the_fingerprint_cannot_be_asked_for(tmp_path: Path) -> None:
    encoder = LocalEncoder(ColourModel(), BatchLimits())
    for batcher, kept in ((BatcherKind.BENTOML, False), (BatcherKind.OURS, True)):
        settings = Settings(data=tmp_path, encoder=EncoderPlace.SERVICE, batcher=batcher)
        assert isinstance(with_cache(settings, encoder), CachedEncoder) is kept


async def test_an_encoder_elsewhere_is_asked_over_http(tmp_path: Path) -> None:
    there = EncoderApp(max_bytes=10_000, timeout=10)
    there.encoder = LocalEncoder(ColourModel(), BatchLimits())
    async with serving(there) as url:
        settings = Settings(store="memory:", data=tmp_path, encoder=EncoderPlace.SERVICE, encoder_url=url)
        assert settings.encoder_url is not None
        container = build_container(settings, build_remote_encoder(settings, settings.encoder_url))
        await container.open()
        assert await container.ready()
        answer = await container.encoder.embed_texts(["red"])
        np.testing.assert_array_equal(answer.embeddings, ColourModel().embed_texts(["red"]).embeddings)
        await container.close()
    await there.encoder.close()


async def test_a_collection_of_another_model_is_refused(tmp_path: Path) -> None:
    settings = Settings(store=f"edge:{tmp_path / 'store'}", data=tmp_path)
    first = build_container(settings, LocalEncoder(ColourModel("first"), BatchLimits()))
    await first.open()
    assert await first.ready()
    await first.close()
    assert not await first.ready()
    other = ColourModel("second")
    other.info = replace(other.info, precision="int8", preprocessing=replace(other.info.preprocessing, profile="fast"))
    second = build_container(settings, LocalEncoder(other, BatchLimits()))
    with pytest.raises(FingerprintMismatch) as refused:
        await second.open()
    said = "CROSSMODAL_PREPROCESSING=standard instead of fast, CROSSMODAL_PRECISION=auto instead of int8"
    assert f"start with the old model ({said}), or " in refused.value.detail
    assert not await second.ready()
    await second.close()


class SilentStore(ExactStore):
    """A store that opened and then went away."""

    async def ping(self) -> None:
        raise StoreUnavailable("gone")


async def test_without_its_store_it_is_not_ready(tmp_path: Path) -> None:
    container = build_container(Settings(store="memory:", data=tmp_path), LocalEncoder(ColourModel(), BatchLimits()))
    container.store = SilentStore()
    await container.open()
    assert container.opened
    assert not await container.ready()
    await container.close()
