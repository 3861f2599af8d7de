"""What goes wrong between the service and a Qdrant server: every exception of its client, in the service's own tree.

No text of a foreign exception reaches a detail: they hold hosts, keys and stored data. The cause is kept for the log.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import TypeVar

import grpc  # type: ignore[import-untyped]
import httpx
from qdrant_client.common.client_exceptions import QdrantException, ResourceExhaustedResponse
from qdrant_client.http.exceptions import ApiException, ResponseHandlingException, UnexpectedResponse

from crossmodal.errors import ConfigurationError, ServerError, StoreUnavailable

T = TypeVar("T")

BUDGET_S = 20.0
"""The longest a call may take with all its attempts, seconds."""

ATTEMPTS = 4
FIRST_WAIT_S = 0.1
"""Wait after the first failed attempt, seconds; doubled after each further one."""

MAX_WAIT_S = 5.0
"""A server that asks for a longer wait, seconds, is not waited for."""

_UNREACHABLE = "the vector store does not answer"
_BUSY = "the vector store is overloaded"
_KEY_REFUSED = "the vector store refused the key; set CROSSMODAL_STORE_API_KEY"
_REQUEST_REFUSED = "the vector store refused a request; its version or settings do not fit this service"
_GONE = "a collection is gone from the vector store; restart the service to make it anew"
_GARBLED = "the vector store gave an answer that cannot be read"

_RETRIED_STATUS = frozenset(
    {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        HTTPStatus.BAD_GATEWAY,
        HTTPStatus.SERVICE_UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT,
    }
)
_KEY_CODES = frozenset({grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED})
_REFUSED_CODES = frozenset(
    {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNIMPLEMENTED,
    }
)

FOREIGN = (
    ApiException,
    QdrantException,
    httpx.HTTPError,
    httpx.InvalidURL,
    httpx.StreamError,
    grpc.RpcError,
    OSError,  # refused connections and, from Python 3.11 on, every TimeoutError
    ValueError,  # the client's in-memory store, and answers that are not JSON
    RuntimeError,  # a closed client
    AssertionError,  # an answer without its result
)
"""Everything the client raises for a fault of the server, the network or the settings."""


def to_own(error: Exception) -> ServerError:  # noqa: PLR0911 -- one for each kind of fault
    """The error of the service's tree for ``error``, one of ``FOREIGN``."""
    match error:
        case UnexpectedResponse(status_code=HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN):
            return ConfigurationError(_KEY_REFUSED)
        case UnexpectedResponse(status_code=HTTPStatus.NOT_FOUND):
            return StoreUnavailable(_GONE)
        case UnexpectedResponse(status_code=status) if status in _RETRIED_STATUS:
            return StoreUnavailable(_BUSY if status == HTTPStatus.TOO_MANY_REQUESTS else _UNREACHABLE)
        case UnexpectedResponse(status_code=status) if status is not None and status < HTTPStatus.INTERNAL_SERVER_ERROR:
            return ConfigurationError(f"{_REQUEST_REFUSED} (status {status})")
        case ResourceExhaustedResponse():
            return StoreUnavailable(_BUSY)
        case ResponseHandlingException(source=Exception() as source):
            return to_own(source)
        case httpx.InvalidURL() | httpx.UnsupportedProtocol():
            return ConfigurationError("CROSSMODAL_STORE is not the URL of a Qdrant server")
        case grpc.RpcError():
            return _grpc_to_own(error)
        case ValueError():
            return StoreUnavailable(_GARBLED)
    return StoreUnavailable(_UNREACHABLE)


@contextmanager
def mapped() -> Iterator[None]:
    """Turn every exception of the client into ``StoreUnavailable`` or ``ConfigurationError``."""
    try:
        yield
    except FOREIGN as error:
        raise to_own(error) from error


async def call(work: Callable[[], Awaitable[T]], *, attempts: int = ATTEMPTS, budget_s: float = BUDGET_S) -> T:
    """Await ``work``, again after faults that may pass; so ``work`` must do no harm when done twice.

    Raises ``StoreUnavailable`` or ``ConfigurationError`` after ``attempts`` or ``budget_s`` seconds at the latest.
    """
    with mapped():
        async with asyncio.timeout(budget_s):
            for attempt in range(attempts - 1):
                try:
                    return await work()
                except FOREIGN as error:
                    wait_s = _wait_s(error, attempt)
                    if not passes(error) or wait_s > MAX_WAIT_S:
                        raise
                    await asyncio.sleep(wait_s)
            return await work()


def passes(error: Exception) -> bool:
    """Whether the same call may succeed a moment later."""
    match error:
        case UnexpectedResponse(status_code=status):
            return status in _RETRIED_STATUS
        case ResourceExhaustedResponse():
            return True
        case ResponseHandlingException(source=httpx.TransportError() as source):
            return not isinstance(source, httpx.UnsupportedProtocol)
        case grpc.RpcError():
            return _code(error) in {
                grpc.StatusCode.UNAVAILABLE,
                grpc.StatusCode.DEADLINE_EXCEEDED,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                grpc.StatusCode.ABORTED,
            }
    return False


def is_silence(error: StoreUnavailable) -> bool:
    """Whether the store was not heard at all, rather than heard to refuse."""
    match error.__cause__:
        case ResponseHandlingException(source=httpx.TransportError()) | TimeoutError() | ConnectionError():
            return True
        case grpc.RpcError() as cause:
            return _code(cause) in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
    return False


def _wait_s(error: Exception, attempt: int) -> float:
    doubled: float = FIRST_WAIT_S * 2**attempt
    return max(doubled, error.retry_after_s) if isinstance(error, ResourceExhaustedResponse) else doubled


def _code(error: grpc.RpcError) -> grpc.StatusCode | None:
    return error.code() if isinstance(error, grpc.Call | grpc.aio.AioRpcError) else None


def _grpc_to_own(error: grpc.RpcError) -> ServerError:
    code = _code(error)
    if code in _KEY_CODES:
        return ConfigurationError(_KEY_REFUSED)
    if code is not None and code in _REFUSED_CODES:
        return ConfigurationError(f"{_REQUEST_REFUSED} (status {code.name})")
    if code is grpc.StatusCode.NOT_FOUND:
        return StoreUnavailable(_GONE)
    return StoreUnavailable(_BUSY if code is grpc.StatusCode.RESOURCE_EXHAUSTED else _UNREACHABLE)
