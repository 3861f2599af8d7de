"""Put pictures and texts into their collections. The same content twice is one item; a bad item fails alone."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import StrEnum

import numpy as np

from crossmodal.encoder import Encoder, Lane
from crossmodal.errors import ClientError, Conflict, CrossModalError, DeadlineExceeded
from crossmodal.metering import charge
from crossmodal.records import Embedding, Item, LongText, Metadata, Modality, Partition, Point, hash_content
from crossmodal.search.pictures import Picture, PictureReader
from crossmodal.search.reading import TextReader
from crossmodal.search.texts import check_id
from crossmodal.search.writing import ItemWriter
from crossmodal.store.base import VectorStore
from crossmodal.telemetry import count_indexed, stage


class Status(StrEnum):
    """What became of an item."""

    INDEXED = "indexed"
    UNCHANGED = "unchanged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Submission:
    """Something to index: the bytes of a picture or of a text in UTF-8.

    ``id`` and ``metadata`` are the caller's, None where there are none: the id is then the content's hash, and the
    metadata of an item that exists already stay as they are; a new item gets ``new_item_metadata``. ``fault`` marks a
    submission that was found bad while it was read; it keeps its place and is reported as failed.
    """

    content: bytes = b""
    id: str | None = None
    metadata: Metadata | None = None
    new_item_metadata: Metadata = field(default_factory=dict)
    fault: ClientError | None = None


@dataclass(frozen=True, slots=True)
class Indexed:
    """What became of a submission; ``id`` is None where it failed before it had one.

    ``tokens_used`` and ``truncated`` say what the model read of a text; None where it read none.
    """

    id: str | None
    status: Status
    error: CrossModalError | None = None
    tokens_used: int | None = None
    truncated: bool | None = None


@dataclass(slots=True, eq=False)
class _Candidate:
    """A submission on its way, and what is there already under its id."""

    submission: Submission
    id: str
    content_hash: str
    long_text: LongText | None = None
    existing: Point | None = None
    picture: Picture | None = None
    embedding: Embedding | None = None
    tokens_used: int | None = None
    truncated: bool | None = None
    fault: CrossModalError | None = None
    incomplete: bool = False
    """The item is there, but the file of its picture or its signature is not: it is written once more."""

    @property
    def keeps_content(self) -> bool:
        same = self._same_content
        return same is not None and not self.incomplete and self.long_text in {None, same.item.long_text}

    @property
    def _same_content(self) -> Point | None:
        same = self.existing is not None and self.existing.item.content_hash == self.content_hash
        return self.existing if same else None

    @property
    def keeps_metadata(self) -> bool:
        given = self.submission.metadata
        return self.existing is not None and (given is None or given == self.existing.item.metadata)

    def point(self, modality: Modality) -> Point:
        """The point to write: new, or the existing one with new metadata."""
        if (existing := self._same_content) is not None:
            given = self.submission.metadata
            metadata = existing.item.metadata if given is None else given
            signature = existing.item.signature if self.picture is None else self.picture.signature
            item = replace(existing.item, metadata=metadata, signature=signature)
            if self.embedding is None or self.long_text is None:
                return Point(item, existing.embedding)
            return Point(replace(item, long_text=self.long_text), self.embedding)
        if self.embedding is None:
            msg = f"{self.id!r} was not embedded"
            raise ValueError(msg)
        item = Item(
            id=self.id,
            modality=modality,
            content_hash=self.content_hash,
            created_at=datetime.now(UTC),
            metadata=self._given_metadata(),
            text=self.submission.content.decode() if modality is Modality.TEXT else None,
            long_text=self.long_text or "truncate",
            signature=b"" if self.picture is None else self.picture.signature,
        )
        return Point(item, self.embedding)

    def _given_metadata(self) -> Metadata:
        given = self.submission.metadata
        return self.submission.new_item_metadata if given is None else given


class Indexing:
    """The use case. One instance serves all requests of a process.

    Both methods index for one tenant and answer one entry per submission, in their order. They raise ``Overloaded``,
    ``ModelUnavailable`` or ``StoreUnavailable`` for the request as a whole; then nothing is acknowledged and sending it
    again is safe.
    """

    def __init__(
        self,
        encoder: Encoder,
        store: VectorStore,
        writer: ItemWriter,
        pictures: PictureReader,
        texts: TextReader,
    ) -> None:
        self._encoder = encoder
        self._store = store
        self._writer = writer
        self._pictures = pictures
        self._texts = texts

    async def index_images(
        self, tenant: str, submissions: Sequence[Submission], lane: Lane = Lane.BULK
    ) -> list[Indexed]:
        """Index encoded pictures."""
        charge(items=len(submissions))
        hashes = await asyncio.gather(*(self._pictures.hash(submission.content) for submission in submissions))
        return await self._index(
            Partition(tenant, Modality.IMAGE), submissions, hashes, lambda fresh: self._embed_images(fresh, lane)
        )

    async def index_texts(
        self,
        tenant: str,
        submissions: Sequence[Submission],
        lane: Lane = Lane.BULK,
        long_text: LongText | None = None,
    ) -> list[Indexed]:
        """Index texts. None leaves an item whose text is there already as it was embedded, and cuts a new one.

        Given, it holds for all of them: an item that was embedded the other way is embedded anew.
        """
        charge(items=len(submissions))
        hashes = [hash_content(submission.content) for submission in submissions]
        return await self._index(
            Partition(tenant, Modality.TEXT),
            submissions,
            hashes,
            lambda fresh: self._embed_texts(fresh, lane),
            long_text,
        )

    async def _index(
        self,
        partition: Partition,
        submissions: Sequence[Submission],
        hashes: Sequence[str],
        embed: Callable[[list[_Candidate]], Awaitable[None]],
        long_text: LongText | None = None,
    ) -> list[Indexed]:
        entries = [
            _admit(submission, content_hash, long_text)
            for submission, content_hash in zip(submissions, hashes, strict=True)
        ]
        unique: dict[str, _Candidate] = {}
        for entry in entries:
            if entry.fault is None:
                unique.setdefault(entry.id, entry)
        await self._look_up(partition, list(unique.values()))
        await embed([entry for entry in unique.values() if not entry.keeps_content])
        sound = [entry for entry in unique.values() if entry.fault is None]
        changed = [entry for entry in sound if not (entry.keeps_content and entry.keeps_metadata)]
        written = await self._write(partition, changed)
        results = [_result(entry, unique.get(entry.id, entry), written) for entry in entries]
        for result in results:
            count_indexed(partition.modality, result.status)
        return results

    async def _look_up(self, partition: Partition, entries: Sequence[_Candidate]) -> None:
        with stage("store"):
            existing = await self._store.fetch(partition, [entry.id for entry in entries], with_embeddings=True)
            for entry, point in zip(entries, existing, strict=True):
                entry.existing = point
                if partition.modality is Modality.IMAGE and entry.keeps_content:
                    known = bool(point and point.item.signature)
                    entry.incomplete = not (
                        known and await self._writer.has_picture(partition.tenant, entry.content_hash)
                    )

    async def _embed_images(self, fresh: Sequence[_Candidate], lane: Lane) -> None:
        preprocessing = (await self._encoder.info()).preprocessing

        async def read(entry: _Candidate) -> None:
            try:
                entry.picture = await self._pictures.read(
                    entry.submission.content, preprocessing, thumbnail=True, lane=lane
                )
            except (ClientError, DeadlineExceeded) as fault:  # one that hangs must not fail the others either
                entry.fault = fault

        await asyncio.gather(*map(read, fresh))
        decoded = [(entry, entry.picture.pixels) for entry in fresh if entry.picture is not None]
        if decoded:
            embeddings = await self._encoder.embed_pixels(np.stack([pixels for _, pixels in decoded]), lane)
            for (entry, _), embedding in zip(decoded, embeddings, strict=True):
                entry.embedding = embedding

    async def _embed_texts(self, fresh: Sequence[_Candidate], lane: Lane) -> None:
        sound: list[tuple[_Candidate, str]] = []
        for entry in fresh:
            try:
                sound.append((entry, self._texts.check(entry.submission.content.decode())))
            except ClientError as fault:
                entry.fault = fault
        if sound:
            long_text = sound[0][0].long_text or "truncate"  # one for the whole request
            read = await self._texts.embed([text for _, text in sound], long_text, lane)
            for (entry, _), embedding, tokens, truncated in zip(sound, *read, strict=True):
                entry.embedding, entry.tokens_used, entry.truncated = embedding, int(tokens), bool(truncated)

    async def _write(self, partition: Partition, changed: Sequence[_Candidate]) -> set[str]:
        """Write what changed; returns the ids that changed by it."""
        fresh = [entry for entry in changed if not entry.keeps_content]
        pictures = {entry.content_hash: entry.picture for entry in fresh if entry.picture is not None}
        beaten = await self._writer.write(partition, [entry.point(partition.modality) for entry in fresh], pictures)
        await self._writer.update(
            partition, [entry.point(partition.modality) for entry in changed if entry.keeps_content]
        )
        return {entry.id for entry in changed} - beaten


def _admit(submission: Submission, content_hash: str, long_text: LongText | None) -> _Candidate:
    """Give the submission its id; a bad one becomes a fault."""
    entry = _Candidate(submission, submission.id or content_hash, content_hash, long_text, fault=submission.fault)
    if entry.fault is None and submission.id is not None:
        try:
            entry.id = check_id(submission.id)
        except ClientError as fault:
            entry.fault = fault
    return entry


def _result(entry: _Candidate, first: _Candidate, written: set[str]) -> Indexed:
    """What became of ``entry``; ``first`` is the first of the same id in the request, mostly itself."""
    fault = entry.fault
    if fault is None and first is not entry:
        if first.content_hash != entry.content_hash:
            fault = Conflict(f"the id {entry.id!r} stands twice in this request, with different content")
        else:
            fault = first.fault
    if fault is not None:
        known = entry.submission.fault is None or entry.submission.id is not None
        return Indexed(entry.id if known else None, Status.FAILED, fault)
    changed = first is entry and entry.id in written
    status = Status.INDEXED if changed else Status.UNCHANGED
    return Indexed(entry.id, status, tokens_used=entry.tokens_used, truncated=entry.truncated)
