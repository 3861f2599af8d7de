"""The HTTP contract: a FastAPI app over the use cases, and the middleware around it."""

from crossmodal.api.app import create_app, edge_around
from crossmodal.api.edge import EdgeMiddleware
from crossmodal.api.traffic import Traffic, TrafficLimits

__all__ = ["EdgeMiddleware", "Traffic", "TrafficLimits", "create_app", "edge_around"]
