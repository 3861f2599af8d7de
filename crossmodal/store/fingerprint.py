"""The refusal to mix vectors of two models in one collection, worded once for every store."""

from crossmodal.errors import FingerprintMismatch
from crossmodal.store.base import CollectionSpec


def require_same(stored: CollectionSpec, loaded: CollectionSpec, *, elsewhere: str) -> None:
    """Raise ``FingerprintMismatch`` unless ``stored`` is ``loaded``; ``elsewhere`` says how to index into a new place."""
    if stored != loaded:
        raise FingerprintMismatch(
            f"the collections were made by the model {stored.fingerprint} of {stored.dim} dimensions, and the model "
            f"loaded is {loaded.fingerprint} of {loaded.dim}; start with the old model, or {elsewhere}"
        )
