"""One tree of errors: every failure a caller can meet, with a stable code and the HTTP status that carries it.

    CrossModalError
    |-- ClientError                    the caller can mend it
    |   |-- Unauthorized               401 unauthorized            no key came, or one that is not known
    |   |-- Forbidden                  403 forbidden               the key may not do this
    |   |-- RequestTimeout             408 request_timeout         the request itself did not arrive in time
    |   |-- HeadersTooLarge            431 headers_too_large       request line and headers are over their limit
    |   |-- ClientGone                 499 client_gone             nobody waits for the answer any more; only in the log
    |   |-- ValidationFailed           422 validation_failed       a field is missing, of a wrong type or out of range
    |   |-- MalformedBody              400 malformed_body          the body cannot be parsed at all
    |   |-- PayloadTooLarge            413 payload_too_large       the body or a file is over its limit
    |   |-- UnsupportedMediaType       415 unsupported_media_type  not a format that is read here
    |   |-- ImageUndecodable           422 image_undecodable       says it is a picture, cannot be decoded
    |   |-- ImageTooLarge              422 image_too_large         too many pixels, or too long and thin
    |   |-- TextTooLong                422 text_too_long           over the limit of characters
    |   |-- NotFound                   404 not_found               no such item, picture or route
    |   |-- MethodNotAllowed           405 method_not_allowed      the route exists, the method does not
    |   `-- Conflict                   409 conflict                two states of the same thing do not agree
    |-- Overloaded                     429 overloaded              a bounded queue is full; retry later
    |   `-- RateLimited                429 rate_limited            the key has used up its share; retry later
    `-- ServerError                    the operator can mend it
        |-- StoreUnavailable           503 store_unavailable       the vector store does not answer
        |-- ModelUnavailable           503 model_unavailable       the model is not loaded or its process is gone
        |-- DeadlineExceeded           504 deadline_exceeded       the answer did not come in time
        |-- ConfigurationError         500 configuration_error     settings, weights or folders are wrong: refused at start
        `-- FingerprintMismatch        500 fingerprint_mismatch    the collection was made by another model

`detail` texts go to the client: they say what came, what is allowed and what to do, and never hold a path of the
server, a key or a stack trace. ``ConfigurationError`` and ``FingerprintMismatch`` are read by the operator in the log.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar, Self


class Shed(StrEnum):
    """The limit at which work is turned away; stable, for `crossmodal_shed_total` shows it."""

    REQUESTS = "requests"
    """All places of the process are taken, `MAX_CONCURRENCY`."""
    INDEXING = "indexing"
    """All places that indexing may take are."""
    KEY = "key"
    """All places that one key may take are."""
    BYTES = "bytes"
    """Too many bytes of bodies are held, `MAX_BUFFERED_BYTES`."""
    MODEL = "model"
    """Too much waits for the model, by count or by time."""
    DECODERS = "decoders"
    """Too many pictures wait to be decoded, `MAX_QUEUED_PICTURES`."""
    FETCHES = "fetches"
    """Too many pictures are being fetched."""
    DUPLICATES = "duplicates"
    """Too many searches for duplicates wait."""
    RATE = "rate"
    """The key has used up its rate."""
    ENDING = "ending"
    """The process is about to end."""
    OTHER = "other"
    """What no other says."""


class CrossModalError(Exception):
    """Root of the tree: ``detail`` is the sentence for the reader, ``code`` and ``status`` are stable.

    ``shed`` names the limit, where work was turned away at one.
    """

    code: str = "internal_error"
    status: int = 500
    title: str = "Internal error"
    shed: Shed | None = None

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class ClientError(CrossModalError):
    """The request is at fault; sending it again unchanged gives the same answer.

    ``loc`` is the place of the fault in the request, outermost first, empty where there is none to name.
    """

    def __init__(self, detail: str, *, loc: Sequence[str | int] = ()) -> None:
        super().__init__(detail)
        self.loc = tuple(loc)

    def under(self, *loc: str | int) -> Self:
        """The same error, seen from further outside."""
        self.loc = (*loc, *self.loc)
        return self


class Unauthorized(ClientError):
    """No key came, or one that is not known."""

    code = "unauthorized"
    status = 401
    title = "A key is needed"


class Forbidden(ClientError):
    """The key is known, but may not do this."""

    code = "forbidden"
    status = 403
    title = "The key may not do this"


class RequestTimeout(ClientError):
    """The request did not arrive in time."""

    code = "request_timeout"
    status = 408
    title = "The request took too long to arrive"


class HeadersTooLarge(ClientError):
    """Request line and headers are over their limit."""

    code = "headers_too_large"
    status = 431
    title = "Too many bytes in the headers"


class ClientGone(ClientError):
    """The client closed the connection before the answer; 499 is nginx's number for it, seen in the access log only."""

    code = "client_gone"
    status = 499
    title = "The client is gone"


class ValidationFailed(ClientError):
    """A field is missing, of a wrong type or out of range."""

    code = "validation_failed"
    status = 422
    title = "The request is not valid"


class MalformedBody(ClientError):
    """The body cannot be parsed as what its content type says it is."""

    code = "malformed_body"
    status = 400
    title = "The body cannot be parsed"


class PayloadTooLarge(ClientError):
    """The body, or one file in it, holds more bytes than the limit."""

    code = "payload_too_large"
    status = 413
    title = "Too many bytes"


class UnsupportedMediaType(ClientError):
    """The bytes are of a format that is not read here, or the body has a content type this route does not take."""

    code = "unsupported_media_type"
    status = 415
    title = "Format not supported"


class ImageUndecodable(ClientError):
    """The bytes begin like a picture of a supported format but cannot be decoded."""

    code = "image_undecodable"
    status = 422
    title = "The picture cannot be decoded"


class ImageTooLarge(ClientError):
    """The picture has too many pixels, or its sides are too unequal."""

    code = "image_too_large"
    status = 422
    title = "The picture is too large"


class TextTooLong(ClientError):
    """The text has more characters than the limit."""

    code = "text_too_long"
    status = 422
    title = "The text is too long"


class NotFound(ClientError):
    """No item, picture or route of that name."""

    code = "not_found"
    status = 404
    title = "Not found"


class MethodNotAllowed(ClientError):
    """The route exists, but not with this method."""

    code = "method_not_allowed"
    status = 405
    title = "Method not allowed"


class Conflict(ClientError):
    """The request contradicts the present state."""

    code = "conflict"
    status = 409
    title = "Conflict"


class Overloaded(CrossModalError):
    """A bounded queue is full; the same request may succeed after ``retry_after`` seconds."""

    code = "overloaded"
    status = 429
    title = "The service is at its limit"

    shed = Shed.OTHER

    def __init__(self, detail: str, *, retry_after: int = 1, shed: Shed | None = None) -> None:
        super().__init__(detail)
        self.retry_after = retry_after
        if shed is not None:
            self.shed = shed


class RateLimited(Overloaded):
    """The key has used up its share of the service for now."""

    code = "rate_limited"
    title = "The key's rate is used up"
    shed = Shed.RATE


class ServerError(CrossModalError):
    """The service, its model or its store is at fault."""


class StoreUnavailable(ServerError):
    """The vector store does not answer; ``retry_after`` in seconds."""

    code = "store_unavailable"
    status = 503
    title = "The vector store is not available"
    retry_after: ClassVar[int] = 2


class ModelUnavailable(ServerError):
    """The model is not loaded, or the process that holds it is gone; ``retry_after`` in seconds."""

    code = "model_unavailable"
    status = 503
    title = "The model is not available"
    retry_after: ClassVar[int] = 2

    def __init__(self, detail: str, *, shed: Shed | None = None) -> None:
        super().__init__(detail)
        self.shed = shed


class DeadlineExceeded(ServerError):
    """The answer did not come within the time the request has."""

    code = "deadline_exceeded"
    status = 504
    title = "The answer took too long"


class ConfigurationError(ServerError):
    """Settings, weights or folders do not fit; met at start, read in the log."""

    code = "configuration_error"
    title = "The service is configured wrongly"


class FingerprintMismatch(ServerError):
    """The stored vectors were made by another model than the one that is loaded."""

    code = "fingerprint_mismatch"
    title = "The collection belongs to another model"


def error_codes() -> set[str]:
    """The code of every error of the tree."""
    kinds: list[type[CrossModalError]] = [CrossModalError]
    codes: set[str] = set()
    while kinds:
        kind = kinds.pop()
        codes.add(kind.code)
        kinds += kind.__subclasses__()
    return codes
