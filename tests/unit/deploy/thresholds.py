"""What the numbers of deploy/ that depend on the hardware have to be, from one place each: none of them is measured."""

from dataclasses import fields
from typing import Any

from crossmodal.clip.base import ModelInfo
from crossmodal.clip.buckets import IMAGE_ITEMS
from crossmodal.encoder.gathering import CALLS
from loadtests.planning import Demand

UTILISATION = 0.7
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(ModelInfo)}
BATCH: dict[str, int] = {"cpu": _DEFAULTS["batch_images"], "gpu": IMAGE_ITEMS[-1]}
"""Pictures in a whole batch, of a device that is asked without `CROSSMODAL_MAX_BATCH_IMAGES`."""
WANTED = {device: int(Demand(rate=1, service=1, batch=batch).target(UTILISATION)) for device, batch in BATCH.items()}
"""Items in flight that are wanted in an encoder (docs/autoscaling.md, "From the knee to a target")."""
QUEUE_LONG = {device: 4 * batch for device, batch in BATCH.items()}
"""Items that wait, from which on somebody should look."""
API_FULL = 2 * BATCH["cpu"]
"""Requests in flight at which an API is full."""
ENCODER_CALLS = 4 * CALLS
"""Calls in flight that are wanted in an encoder: of four busy API processes (docs/adr/0028-calls-in-company.md)."""
