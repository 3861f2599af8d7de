"""What keeps BentoML's own middleware from making three spans of each request."""

from opentelemetry.instrumentation.utils import suppress_http_instrumentation as without_foreign_spans

__all__ = ["without_foreign_spans"]
