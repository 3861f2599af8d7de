"""The picture a request is about: uploaded, written into its body, or indexed already."""

from collections.abc import Sequence
from dataclasses import dataclass

from crossmodal.encoder import Encoder
from crossmodal.errors import ClientError, NotFound
from crossmodal.metering import charge
from crossmodal.records import Embedding, Modality, Partition
from crossmodal.search.pictures import PictureReader
from crossmodal.store.base import VectorStore
from crossmodal.telemetry import stage


@dataclass(frozen=True, slots=True)
class PictureSource:
    """Where the picture is: exactly one of the members but ``loc`` is given.

    ``content`` is an encoded picture, ``text`` a data URL, base64 or http(s) URL of one, ``id`` that of an indexed one.
    ``loc`` is where in the request it stands, for errors.
    """

    content: bytes | None = None
    text: str | None = None
    id: str | None = None
    loc: Sequence[str | int] = ()


class Seeing:
    """From a picture to its embedding. One instance serves all requests of a process."""

    def __init__(self, encoder: Encoder, store: VectorStore, pictures: PictureReader) -> None:
        self._encoder = encoder
        self._store = store
        self._pictures = pictures

    async def content(self, source: PictureSource) -> bytes:
        """The encoded picture of a source that is no ``id``. Raises what ``Intake.bytes_of`` raises, with its place."""
        if source.content is not None:
            return source.content
        try:
            return await self._pictures.bytes_of(source.text or "")
        except ClientError as fault:
            raise fault.under(*source.loc) from fault.__cause__

    async def embed(self, tenant: str, source: PictureSource) -> Embedding:
        """The picture's unit embedding; that of an indexed one is the stored one, and nothing is decoded.

        Raises ``NotFound``, ``Overloaded``, ``ModelUnavailable``, ``StoreUnavailable`` and what reading a picture raises,
        with its place.
        """
        if source.id is not None:
            return await self._stored(tenant, source.id, source.loc)
        content = await self.content(source)
        charge(items=1)
        preprocessing = (await self._encoder.info()).preprocessing
        try:
            picture = await self._pictures.read(content, preprocessing)
        except ClientError as fault:
            raise fault.under(*source.loc) from fault.__cause__
        embedding: Embedding = (await self._encoder.embed_pixels(picture.pixels[None]))[0]
        return embedding

    async def _stored(self, tenant: str, item_id: str, loc: Sequence[str | int]) -> Embedding:
        with stage("store"):
            (point,) = await self._store.fetch(Partition(tenant, Modality.IMAGE), [item_id], with_embeddings=True)
        if point is None:
            raise NotFound(f"there is no {Modality.IMAGE} with the id {item_id!r}", loc=tuple(loc))
        return point.embedding
