"""The one place where points and the files they point at change, so that neither outlives the other."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from crossmodal.media import MediaStore
from crossmodal.records import Modality, Partition, Point
from crossmodal.search.committing import Committer, is_same
from crossmodal.search.gate import Gate
from crossmodal.search.pictures import Picture
from crossmodal.store.base import VectorStore
from crossmodal.telemetry import stage


class ItemWriter:
    """Writes and removes items. One per process: its gate orders writers of this process only.

    With several API processes on one Qdrant server, deleting a picture in one while another indexes the same bytes can
    leave the new item without its file; indexing it again mends that.
    """

    def __init__(self, store: VectorStore, media: MediaStore) -> None:
        self._store = store
        self._media = media
        self._gate = Gate()
        self._committer = Committer(store)

    async def write(self, partition: Partition, points: Sequence[Point], pictures: Mapping[str, Picture]) -> set[str]:
        """Put the files of ``pictures``, by their content's hash, then the points; durable when it returns.

        Returns the ids that somebody else wrote just so in the meantime: those are left as they are. Files that only the
        replaced items needed are deleted. A caller that leaves does not interrupt it. Raises ``StoreUnavailable``.
        """
        if not points:
            return set()
        with stage("store"):
            # Broken off between file and point it would leave a file that nobody knows of.
            return await asyncio.shield(self._write(partition, points, pictures))

    async def _write(self, partition: Partition, points: Sequence[Point], pictures: Mapping[str, Picture]) -> set[str]:
        async with self._gate.shared():
            await asyncio.gather(
                *(
                    self._media.put(partition.tenant, content_hash, picture.content, picture.thumbnail)
                    for content_hash, picture in pictures.items()
                )
            )
            pairs = await self._committer.write(partition, points)
        if partition.modality is Modality.IMAGE:
            await self.release(
                partition.tenant,
                {
                    now.item.content_hash
                    for point, now in pairs
                    if now is not None and now.item.content_hash != point.item.content_hash
                },
            )
        return {point.item.id for point, now in pairs if is_same(point, now)}

    async def has_picture(self, tenant: str, content_hash: str) -> bool:
        """Whether the file of a picture is there."""
        return await self._media.exists(tenant, content_hash)

    async def update(self, partition: Partition, points: Sequence[Point]) -> None:
        """Write items that exist with the same content; one deleted meanwhile stays deleted."""
        if not points:
            return
        with stage("store"):
            async with self._gate.shared(), self._committer.alone:
                present = await self._store.fetch(partition, [point.item.id for point in points])
                kept = [
                    point
                    for point, now in zip(points, present, strict=True)
                    if now is not None and now.item.content_hash == point.item.content_hash
                ]
                if kept:
                    await self._store.upsert(partition, kept)

    async def remove(self, partition: Partition, item_id: str) -> bool:
        """Remove an item and, if nothing else of its tenant needs it, its file; False if there was no such item."""
        with stage("store"):
            async with self._gate.exclusive():
                (point,) = await self._store.fetch(partition, [item_id])
                if point is None:
                    return False
                await self._store.delete(partition, [item_id])
                if partition.modality is Modality.IMAGE:
                    await self._drop_unused(partition.tenant, point.item.content_hash)
                return True

    async def release(self, tenant: str, content_hashes: Iterable[str]) -> None:
        """Delete the files of pictures that none of the tenant's items holds any more."""
        for content_hash in set(content_hashes):
            async with self._gate.exclusive():
                await self._drop_unused(tenant, content_hash)

    async def _drop_unused(self, tenant: str, content_hash: str) -> None:
        if not await self._store.count(Partition(tenant, Modality.IMAGE), content_hash=content_hash):
            await self._media.delete(tenant, content_hash)
