"""The port through which the service reaches a model, and its two ways: in this process, or in another one."""

from crossmodal.batching import Lane
from crossmodal.encoder.base import Encoder
from crossmodal.encoder.cached import CachedEncoder
from crossmodal.encoder.local import BatchLimits, LocalEncoder
from crossmodal.encoder.remote import RemoteEncoder

__all__ = ["BatchLimits", "CachedEncoder", "Encoder", "Lane", "LocalEncoder", "RemoteEncoder"]
