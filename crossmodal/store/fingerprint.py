"""The refusals to mix vectors of two models, or items kept in two ways, in one collection, worded once for every store."""

from crossmodal.errors import ConfigurationError, FingerprintMismatch
from crossmodal.store.base import CollectionSpec
from crossmodal.store.payload import LAYOUT


def require_same(stored: CollectionSpec, loaded: CollectionSpec, *, elsewhere: str) -> None:
    """Raise ``FingerprintMismatch`` unless ``stored`` is ``loaded``; ``elsewhere`` says how to index into a new place."""
    if stored != loaded:
        raise FingerprintMismatch(
            f"the collections were made by the model {stored.fingerprint} of {stored.dim} dimensions, and the model "
            f"loaded is {loaded.fingerprint} of {loaded.dim}; start with the old model, or {elsewhere}"
        )


def require_layout(stored: object, *, elsewhere: str) -> None:
    """Raise ``ConfigurationError`` unless items are kept as ``payload`` lays them out; ``elsewhere`` as above."""
    if stored != LAYOUT:
        raise ConfigurationError(
            f"the collections were made by another version of this service, before or after this one's layout {LAYOUT}: "
            f"none of their items would be found; {elsewhere}"
        )
