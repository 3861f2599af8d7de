"""Every knob in one place, read from the environment with the prefix CROSSMODAL_; nothing else reads it.

An empty variable is as none, which is what an unfilled `${...}` of a compose file or a template leaves. Of what guards the
service it is refused, for there it would open what was to be closed.
"""

import os
import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from crossmodal.disk import MIN_FREE
from crossmodal.errors import ConfigurationError

MIB = 1024 * 1024
ROOT = Path(__file__).resolve().parent.parent


class EncoderPlace(StrEnum):
    """How the API reaches a model: in its own process, or through the Encoder service."""

    LOCAL = "local"
    SERVICE = "service"


class BatcherKind(StrEnum):
    """Who gathers batches inside the Encoder service: our item-aware batcher, or BentoML's dispatcher."""

    OURS = "ours"
    BENTOML = "bentoml"


class UrlFetching(StrEnum):
    """Whether a client may send http(s) URLs of pictures: never, of listed hosts, or of any public host."""

    OFF = "off"
    ALLOWED = "allowed"
    PUBLIC = "public"


def _split(given: object) -> object:
    """The entries of a comma-separated list."""
    return tuple(filter(None, map(str.strip, given.split(",")))) if isinstance(given, str) else given


def _origin(given: str) -> str:
    """A URL of scheme, host and port alone; what is refused is not repeated, for it may hold a secret."""
    try:
        url = urlsplit(given)
        fits = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        fits = False
    if not fits or not given.isascii() or not given.isprintable() or " " in given:
        raise ValueError("http://HOST:PORT or https://HOST:PORT is needed")
    if url.username is not None or url.password is not None:
        raise ValueError("the URL must hold no credentials")
    if url.path not in {"", "/"} or url.query or url.fragment or "?" in given or "#" in given:
        raise ValueError("http://HOST:PORT or https://HOST:PORT is needed, without path, query or fragment")
    return given.rstrip("/")


def _collector(given: str) -> str:
    """A URL that may have a path, too; what is refused is not repeated."""
    scheme, _, rest = given.partition("://")
    host, slash, path = rest.partition("/")
    origin = _origin(f"{scheme}://{host}")
    if not re.fullmatch(r"[A-Za-z0-9._~/-]*", path):
        raise ValueError("http(s)://HOST:PORT is needed, with a plain path below it if need be")
    return (origin + slash + path).rstrip("/")


Listed = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Comma-separated in the environment."""


class PreprocessingProfile(StrEnum):
    """How a file becomes pixels before the model sees it; vectors of different profiles must not be mixed."""

    STANDARD = "standard"
    REFERENCE = "reference"
    FAST = "fast"


class ModelRuntime(StrEnum):
    """What runs the model: PyTorch, OpenVINO from an export, or OpenVINO where there is an export and no GPU."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


def _default_model() -> str:
    """The model that was baked into the bento, where there is one."""
    return "baked" if (ROOT / "models/baked").is_dir() else "ViT-B-32/laion2b_s34b_b79k"


class Settings(BaseSettings):
    """The service's configuration. Sizes are in bytes, times in seconds, counts in items."""

    model_config = SettingsConfigDict(
        env_prefix="CROSSMODAL_", extra="ignore", frozen=True, protected_namespaces=(), env_ignore_empty=True
    )

    model: str = Field(
        default_factory=_default_model,
        description="tiny (bundled), baked (into the bento), ARCH/TAG of OpenCLIP, hf-hub:ORG/REPO or local-dir:PATH; "
        "default: baked where there is one, else ViT-B-32/laion2b_s34b_b79k",
    )
    preprocessing: PreprocessingProfile = Field(
        default=PreprocessingProfile.STANDARD,
        description="standard: as a viewer shows a picture; reference: bit-equal to OpenCLIP's transform; "
        "fast: as standard with less work, pixels slightly other",
    )
    device: str = Field(default="auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="auto, cpu, cuda or cuda:N")
    precision: str = Field(
        default="auto",
        pattern=r"^(auto|fp32|bf16|fp16|int8)$",
        description="auto, fp32, bf16, fp16, or int8 from what `python -m indexer export --int8` wrote; auto is never int8",
    )
    model_threads: Annotated[int, Field(ge=1)] | None = Field(default=None, description="CPU threads of the model")

    runtime: ModelRuntime = Field(
        default=ModelRuntime.AUTO,
        description="torch; openvino, from what `python -m indexer export` wrote; auto: openvino on the CPU where that is there",
    )

    data: Path = Field(default=Path("data"), description="folder of everything written, unless told otherwise below")
    store: str = Field(
        default="", description="edge:PATH (default DATA/store), memory:, http(s)://HOST:6333, grpc://HOST:6334"
    )
    store_api_key: SecretStr | None = Field(default=None, description="key of the Qdrant server")
    media: str = Field(default="", description="folder (default DATA/media), s3://BUCKET/PREFIX or gs://BUCKET/PREFIX")

    min_free_bytes: int = Field(
        default=MIN_FREE, ge=0, description="free on the disks of store and media, below which nothing is written"
    )

    samples: Path | None = Field(default=None, description="a gallery to index before the first start is ready")

    policies: Path | None = Field(
        default=None, description="YAML file of the policies of /moderate; without it there are none"
    )

    vocabulary: Path = Field(
        default=ROOT / "crossmodal/search/vocabulary.txt", description="text file of the words of /describe's tags"
    )

    encoder: EncoderPlace = EncoderPlace.LOCAL
    encoder_url: Annotated[str, AfterValidator(_origin)] | None = Field(
        default=None,
        description="http(s)://HOST:PORT where `bentoml serve service:Encoder` answers; none: it is started with the API",
    )
    batcher: BatcherKind = BatcherKind.OURS
    api_workers: int = Field(default=1, ge=1, le=64, description="API processes; more than one needs encoder=service")
    encoder_workers: int = Field(
        default=1, ge=1, le=16, description="processes with a model of their own each, of encoder=service"
    )

    max_batch_images: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="pictures in a batch at most (default 8, twice at a time, on a CPU; 128 on a GPU)",
    )
    max_batch_texts: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        default=None,
        description="texts in a batch at most (default 16, twice at a time, on a CPU; 256 on a GPU)",
    )
    max_queued_items: int = Field(default=16_384, ge=1, description="items waiting for the model before 429")
    cache_bytes: int = Field(
        default=64 * MIB, ge=0, description="embeddings of texts and pictures kept in a process; 0: none"
    )
    decode_workers: int = Field(default=2, ge=1, le=64, description="processes that decode pictures")
    decode_timeout: float = Field(default=10.0, gt=0, le=3600, description="CPU seconds a picture may take to decode")
    max_queued_pictures: int = Field(default=4096, ge=1, description="pictures waiting to be decoded before 429")

    max_body_bytes: int = Field(default=20 * MIB, ge=1024, description="a request's whole body")
    max_image_bytes: int = Field(default=20 * MIB, ge=1024, description="one picture")
    max_image_pixels: int = Field(default=50_000_000, ge=1, description="width times height of a picture")
    max_image_aspect: float = Field(default=100.0, ge=1.0, description="longer side over shorter side of a picture")
    max_text_chars: int = Field(default=10_000, ge=1, description="one text")

    max_duplicate_items: int = Field(
        default=100_000,
        ge=2,
        description="items that one search for duplicates compares; the answer says if there are more",
    )

    fetch_urls: UrlFetching = UrlFetching.OFF
    fetch_hosts: Listed = Field(
        default=(), description="HOST, HOST:PORT or .DOMAIN, comma-separated; only public addresses are connected to"
    )
    fetch_private_hosts: Listed = Field(
        default=(), description="HOST or HOST:PORT whose addresses may be private: clients can read whatever it serves"
    )
    fetch_timeout: float = Field(default=10.0, gt=0, le=300, description="seconds for one picture, with redirects")
    keys_file: Path | None = Field(
        default=None,
        description="JSON file of API keys, made by `python -m indexer key`; without it everybody may do all",
    )
    rate: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False)] | None = Field(
        default=None,
        description="units of work a second and process for a key without a rate of its own; none: no limit",
    )
    burst: Annotated[float, Field(ge=1, le=1e9, allow_inf_nan=False)] | None = Field(
        default=None, description="units of work that can be saved up (default ten seconds of the rate)"
    )

    timeout: int = Field(default=60, ge=1, le=3600, description="seconds a request may take")
    max_concurrency: int = Field(default=256, ge=1, description="requests at a time in a process before 429")
    max_buffered_bytes: int = Field(default=512 * MIB, ge=1024, description="bodies at a time in a process before 429")
    stall: float = Field(default=60.0, gt=0, description="seconds a batch may run before the model counts as hung")
    drain: float = Field(
        default=2.0, ge=0, le=600, description="seconds to go on taking requests after SIGTERM, already not ready"
    )
    otlp_endpoint: Annotated[str, AfterValidator(_collector)] | None = Field(
        default=None,
        description="http(s)://HOST:PORT of an OpenTelemetry collector, which gets traces at /v1/traces below it; none: no traces",
    )
    trace_ratio: float = Field(
        default=1.0, ge=0, le=1, description="share of requests traced, where the caller's traceparent does not say"
    )
    service_name: str = Field(
        default="crossmodal",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$",
        description="what traces call this service: NAME-api, and NAME-encoder where that is a process of its own",
    )
    cors_origins: list[str] = Field(
        default=[], description="JSON list of origins whose pages may call; none by default"
    )

    @property
    def store_url(self) -> str:
        """The store's URL, the embedded one under ``data`` unless told otherwise."""
        return self.store or f"edge:{self.data / 'store'}"

    @property
    def media_url(self) -> str:
        """Where pictures are kept, under ``data`` unless told otherwise."""
        return self.media or str(self.data / "media")

    @property
    def exports(self) -> Path:
        """Folder of the models exported for another runtime that are not beside their weights."""
        return self.data / "exports"

    @property
    def compiled(self) -> Path:
        """Folder of what that runtime compiled for this CPU; what is in it may be deleted."""
        return self.data / "compiled"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        embedded = self.store_url.startswith(("edge:", "memory:"))
        if self.api_workers > 1 and self.encoder is EncoderPlace.LOCAL:
            msg = "CROSSMODAL_API_WORKERS above 1 needs CROSSMODAL_ENCODER=service: each worker would load the model"
            raise ValueError(msg)
        if self.api_workers > 1 and embedded:
            msg = "CROSSMODAL_API_WORKERS above 1 needs a Qdrant server: the embedded store has one owning process"
            raise ValueError(msg)
        if self.encoder_url is not None and self.encoder is EncoderPlace.LOCAL:
            msg = (
                "CROSSMODAL_ENCODER_URL needs CROSSMODAL_ENCODER=service: with local the model is in the API's process"
            )
            raise ValueError(msg)
        if self.encoder_url is not None and self.batcher is BatcherKind.BENTOML:
            msg = "CROSSMODAL_ENCODER_URL needs CROSSMODAL_BATCHER=ours: BentoML's takes no lane and no fingerprint"
            raise ValueError(msg)
        if self.fetch_urls is UrlFetching.ALLOWED and not (self.fetch_hosts or self.fetch_private_hosts):
            msg = "CROSSMODAL_FETCH_URLS=allowed needs CROSSMODAL_FETCH_HOSTS or CROSSMODAL_FETCH_PRIVATE_HOSTS"
            raise ValueError(msg)
        return self


_GUARDS = frozenset({"CROSSMODAL_KEYS_FILE"})
"""Variables without which everybody may do everything."""


def load_settings() -> Settings:
    """Read the environment. Raises ``ConfigurationError`` naming each wrong variable, without its value."""
    for name, value in os.environ.items():
        if not value and name.upper() in _GUARDS:
            raise ConfigurationError(
                f"settings are not valid: {name}: it is empty; without keys it must not be set at all"
            )
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"CROSSMODAL_{'_'.join(str(part) for part in fault['loc']).upper()}: {fault['msg']}"
            if fault["loc"]
            else fault["msg"]
            for fault in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"settings are not valid: {faults}") from None
