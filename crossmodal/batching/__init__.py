"""The adaptive batcher: many small requests in, few batches out. Pure asyncio; knows no model and no server."""

from crossmodal.batching.batcher import Batcher
from crossmodal.batching.queues import BULK_TURN
from crossmodal.batching.work import BatchObserver, Kind, Lane, Outcome

__all__ = ["BULK_TURN", "BatchObserver", "Batcher", "Kind", "Lane", "Outcome"]
