"""The refusals to mix vectors of two models, or items kept in two ways, in one collection, worded once for every store."""

from collections.abc import Mapping
from typing import Any, Final

from crossmodal.errors import ConfigurationError, FingerprintMismatch
from crossmodal.store.base import CollectionSpec
from crossmodal.store.payload import LAYOUT

_SETTINGS: Final = "settings"
_MOST_CHARS: Final = 200


def note_of(spec: CollectionSpec) -> dict[str, Any]:
    """The members by which a store notes whose its collections are."""
    return {"dim": spec.dim, "fingerprint": spec.fingerprint, _SETTINGS: dict(spec.settings)}


def spec_of(note: Mapping[str, Any]) -> CollectionSpec | None:
    """Read them back; None if they are not there. Notes from before there were settings in them hold none."""
    dim, fingerprint, settings = note.get("dim"), note.get("fingerprint"), note.get(_SETTINGS)
    if not isinstance(dim, int) or not isinstance(fingerprint, str):
        return None
    given = settings.items() if isinstance(settings, dict) else ()
    return CollectionSpec(dim, fingerprint, {name: value for name, value in given if isinstance(value, str)})


def require_same(stored: CollectionSpec, loaded: CollectionSpec, *, elsewhere: str) -> None:
    """Raise ``FingerprintMismatch`` unless ``stored`` is ``loaded``; ``elsewhere`` says how to index into a new place."""
    if stored != loaded:
        raise FingerprintMismatch(
            f"the collections were made by the model {stored.fingerprint} of {stored.dim} dimensions, and the model "
            f"loaded is {loaded.fingerprint} of {loaded.dim}; start with the old model ({_difference(stored, loaded)}), or "
            f"{elsewhere}"
        )


def _difference(stored: CollectionSpec, loaded: CollectionSpec) -> str:
    """What of the settings to change, as far as the note says."""
    if not stored.settings:
        return f"its settings are not noted; it depends on {', '.join(loaded.settings) or 'the model'}"
    changed = [
        f"{name}={stored.settings[name][:_MOST_CHARS]} instead of {value}"
        for name, value in loaded.settings.items()
        if stored.settings.get(name, value) != value
    ]
    return ", ".join(changed) or "its settings were the same, its files were not: the weights, or the int8 export"


def require_layout(stored: object, *, elsewhere: str) -> None:
    """Raise ``ConfigurationError`` unless items are kept as ``payload`` lays them out; ``elsewhere`` as above."""
    if stored != LAYOUT:
        raise ConfigurationError(
            f"the collections were made by another version of this service, before or after this one's layout {LAYOUT}: "
            f"none of their items would be found; {elsewhere}"
        )
