"""The one place that builds concrete objects out of settings."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from crossmodal import telemetry
from crossmodal.clip.baked import Baked, Recipe
from crossmodal.clip.base import ClipModel, ModelInfo
from crossmodal.clip.quality import Quantizing
from crossmodal.encoder import BatchLimits, CachedEncoder, Encoder, LocalEncoder, RemoteEncoder
from crossmodal.errors import ConfigurationError, CrossModalError
from crossmodal.fetching import Fetcher, FetchPolicy, HttpFetcher, host_rules
from crossmodal.imaging import ImageLimits
from crossmodal.media import MediaStore
from crossmodal.search.classifying import Classifying
from crossmodal.search.comparing import Comparing
from crossmodal.search.describing import Describing
from crossmodal.search.duplicates import Duplicates
from crossmodal.search.finding import Finder
from crossmodal.search.indexing import Indexing
from crossmodal.search.intake import FetchLimits
from crossmodal.search.library import Library
from crossmodal.search.moderating import Moderating
from crossmodal.search.pictures import PictureReader
from crossmodal.search.policies import load_policies
from crossmodal.search.querying import Querying
from crossmodal.search.reading import TextReader
from crossmodal.search.relevance import Calibrations
from crossmodal.search.seeing import Seeing
from crossmodal.search.vocabulary import load_vocabulary
from crossmodal.search.writing import ItemWriter
from crossmodal.settings import BatcherKind, EncoderPlace, Settings, UrlFetching
from crossmodal.startup import build_model
from crossmodal.store.base import CollectionSpec, VectorStore
from crossmodal.store.observed import ObservedStore

log = structlog.get_logger()

READY_SECONDS = 3.0
"""How long model and store may take to say that they are there."""


@dataclass(slots=True, eq=False)
class Container:
    """Everything a process needs to answer, built and joined; ``open`` before use, ``close`` after."""

    settings: Settings
    encoder: Encoder
    store: VectorStore
    pictures: PictureReader
    calibrations: Calibrations
    indexing: Indexing
    querying: Querying
    comparing: Comparing
    seeing: Seeing
    classifying: Classifying
    moderating: Moderating
    describing: Describing
    library: Library
    duplicates: Duplicates
    media: MediaStore
    opened: bool = False

    async def open(self) -> None:
        """Check that model and store fit and open the store. Raises the errors of both."""
        info = await self.encoder.info()
        await self.store.open(CollectionSpec(info.dim, info.fingerprint, _settings_of(info)))
        self.opened = True
        telemetry.show_model(
            model=info.name, fingerprint=info.fingerprint, device=info.device, precision=info.precision
        )
        log.info(
            "open",
            model=info.name,
            device=info.device,
            precision=info.precision,
            dim=info.dim,
            fingerprint=info.fingerprint,
            store=self.store.name,
        )

    async def ready(self) -> bool:
        """Whether a search would be answered now: model warm and alive, store reachable; known within seconds."""
        if not self.opened:
            return False
        try:
            async with asyncio.timeout(READY_SECONDS):
                await self.encoder.ping()
                await self.store.ping()
        except (CrossModalError, TimeoutError) as error:
            code, detail = (error.code, error.detail) if isinstance(error, CrossModalError) else ("timeout", "")
            log.warning("not ready", code=code, detail=detail)
            return False
        return True

    async def close(self) -> None:
        """Finish what runs and release everything."""
        self.opened = False
        await self.encoder.close()
        self.pictures.close()
        await self.store.close()
        self.media.close()


def _settings_of(info: ModelInfo) -> dict[str, str]:
    """The settings that make a model another one, as an operator would set them; no path, no key."""
    return {
        "CROSSMODAL_MODEL": info.name,
        "CROSSMODAL_PREPROCESSING": info.preprocessing.profile,
        "CROSSMODAL_PRECISION": info.precision if info.precision == "int8" else "auto",
    }


def export_model(settings: Settings, out: Path | None, quantizing: Quantizing | None = None) -> Path:
    """Export the model the settings name, to ``out`` or where ``build_model`` looks for it; returns the folder.

    With ``quantizing`` in int8, too. Raises ``ConfigurationError``.
    """
    from crossmodal.clip import exporting

    return exporting.export_model(settings.model, out=out, exports=settings.exports, quantizing=quantizing)


def bake_model(settings: Settings, recipe: Recipe, folder: Path) -> Baked:
    """Write all files of a model into ``folder``, to be put into a bento. Raises ``ConfigurationError``."""
    from crossmodal.clip import baking

    return baking.bake_model(recipe, folder, exports=settings.exports)


def build_local_encoder(settings: Settings, model: ClipModel | None = None) -> LocalEncoder:
    """Put the batcher before ``model``, or one that is loaded here. Raises ``ConfigurationError``."""
    limits = BatchLimits(
        images=settings.max_batch_images,
        texts=settings.max_batch_texts,
        queued=settings.max_queued_items,
        wait=settings.timeout / 2,
        stall=settings.stall,
    )
    return LocalEncoder(model or build_model(settings), limits, telemetry.BatchMetrics())


def build_remote_encoder(settings: Settings, url: str) -> RemoteEncoder:
    """The encoder that is served at ``url``, ``http(s)://HOST:PORT``; built in the event loop that uses it."""
    from crossmodal.encoder.over_http import HttpCall

    call = HttpCall(url, timeout=settings.timeout)
    return RemoteEncoder(call, closing=call.close)


def build_store(settings: Settings) -> VectorStore:
    """The store that ``settings.store_url`` names. Raises ``ConfigurationError`` for a URL of no known kind."""
    url = settings.store_url
    scheme = urlsplit(url).scheme
    if scheme == "edge":
        from crossmodal.store.edge import EdgeStore

        return EdgeStore(url.removeprefix("edge:"), min_free=settings.min_free_bytes)
    if scheme == "memory":
        from crossmodal.store.exact import ExactStore

        return ExactStore()
    if scheme in {"http", "https", "grpc", "grpcs"}:
        from crossmodal.store.qdrant import QdrantStore

        key = settings.store_api_key
        return QdrantStore(url, api_key=key.get_secret_value() if key else None)
    raise ConfigurationError(
        f"CROSSMODAL_STORE has the scheme {scheme!r}; edge:PATH, memory:, http(s)://HOST:PORT and grpc://HOST:PORT are known"
    )


def build_fetcher(settings: Settings) -> Fetcher | None:
    """What fetches pictures by URL; None where that is off. Raises ``ConfigurationError`` for a host that is none."""
    hosts = host_rules(settings.fetch_hosts, "CROSSMODAL_FETCH_HOSTS")
    private = host_rules(settings.fetch_private_hosts, "CROSSMODAL_FETCH_PRIVATE_HOSTS", subdomains=False)
    if settings.fetch_urls is UrlFetching.OFF:
        return None
    policy = FetchPolicy(settings.fetch_urls is UrlFetching.PUBLIC, hosts, private)
    return HttpFetcher(policy, max_bytes=settings.max_image_bytes, seconds=settings.fetch_timeout)


def with_cache(settings: Settings, encoder: Encoder) -> Encoder:
    """The encoder behind a memory of what it embedded, unless that is switched off."""
    # BentoML's batcher takes no fingerprint, so what came from a model exchanged a moment ago could be kept as this one's.
    unsure = settings.encoder is EncoderPlace.SERVICE and settings.batcher is BatcherKind.BENTOML
    return CachedEncoder(encoder, max_bytes=settings.cache_bytes) if settings.cache_bytes and not unsure else encoder


def build_pictures(settings: Settings) -> PictureReader:
    """What decodes pictures. Raises ``ConfigurationError`` for a host that is none."""
    limits = ImageLimits(
        max_bytes=settings.max_image_bytes,
        max_pixels=settings.max_image_pixels,
        max_aspect=settings.max_image_aspect,
    )
    return PictureReader(
        limits,
        workers=settings.decode_workers,
        max_queued=settings.max_queued_pictures,
        deadline=settings.decode_timeout,
        fetcher=build_fetcher(settings),
        # As many bytes as the client could have sent itself, and time left to embed what came.
        fetch_limits=FetchLimits(max_bytes=settings.max_body_bytes, seconds=settings.timeout / 2),
    )


def build_container(settings: Settings, encoder: Encoder, pictures: PictureReader | None = None) -> Container:
    """Join store, media, use cases and ``pictures``, if they are there already, around an encoder.

    Raises ``ConfigurationError`` for a file that is not valid.
    """
    policies = () if settings.policies is None else load_policies(settings.policies)
    encoder = with_cache(settings, encoder)
    store = ObservedStore(build_store(settings), telemetry.store_use)
    media = MediaStore(settings.media_url, min_free=settings.min_free_bytes)
    pictures = pictures or build_pictures(settings)
    writer = ItemWriter(store, media)
    calibrations = Calibrations(encoder, store)
    texts = TextReader(encoder, max_text_chars=settings.max_text_chars)
    seeing = Seeing(encoder, store, pictures)
    querying = Querying(encoder, store, Finder(store, calibrations), pictures, texts)
    return Container(
        settings=settings,
        encoder=encoder,
        store=store,
        pictures=pictures,
        calibrations=calibrations,
        indexing=Indexing(encoder, store, writer, pictures, texts),
        querying=querying,
        comparing=Comparing(encoder, calibrations, pictures, texts),
        seeing=seeing,
        classifying=Classifying(encoder, calibrations, seeing, max_text_chars=settings.max_text_chars),
        moderating=Moderating(encoder, calibrations, seeing, policies),
        describing=Describing(encoder, calibrations, seeing, querying, load_vocabulary(settings.vocabulary)),
        library=Library(encoder, store, media, writer),
        duplicates=Duplicates(calibrations, store, max_items=settings.max_duplicate_items),
        media=media,
    )
