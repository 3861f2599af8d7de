"""Fetch what a URL names, under a policy: GET, no credentials, bounded in time, bytes and redirects."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from ssl import SSLContext

import httpcore
import structlog

import crossmodal
from crossmodal.errors import Overloaded, PayloadTooLarge, Shed, ValidationFailed
from crossmodal.fetching.addresses import Judge, reach_of
from crossmodal.fetching.base import Spend
from crossmodal.fetching.network import CheckedBackend, Resolver, SystemResolver
from crossmodal.fetching.policy import UNREACHABLE, FetchPolicy
from crossmodal.fetching.urls import Target, parse_url, redirected

MAX_REDIRECTS = 3
_MAX_IN_FLIGHT = 64
"""Fetches of one process at a time; each holds at most one picture."""
_CONNECT_SHARE = 0.3
"""Part of the time for a picture that one attempt to connect may take."""
_FREE_CHUNKS = 4096
_CHUNK_BYTES = 256
"""A body may come in so many chunks, and beyond that in one per so many bytes: each costs the event loop time, and a
server that sends one byte in each would hold up every other request with a few megabytes."""
_REDIRECTS = {
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
}
_FAILURES = (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError)
"""What httpcore raises, and the ssl errors it lets through."""

log = structlog.get_logger()


class HttpFetcher:
    """A ``Fetcher`` over HTTP/1.1. One connection per request, no proxy, no cookie, nothing kept between fetches.

    ``max_bytes`` of one picture; ``seconds`` for one picture, with name resolution and redirects. ``resolver``,
    ``judge`` and ``tls`` are for tests, and for whoever has a resolver or authorities of their own.
    """

    def __init__(
        self,
        policy: FetchPolicy,
        *,
        max_bytes: int,
        seconds: float = 10.0,
        resolver: Resolver | None = None,
        judge: Judge = reach_of,
        tls: SSLContext | None = None,
    ) -> None:
        self._policy = policy
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._resolver = resolver or SystemResolver()
        self._judge = judge
        self._tls = tls or httpcore.default_ssl_context()
        self._in_flight = 0

    async def fetch(self, url: str, spend: Spend) -> bytes:
        """The bytes at ``url``; see ``Fetcher``."""
        target = parse_url(url)
        if self._in_flight >= _MAX_IN_FLIGHT:
            raise Overloaded(f"{self._in_flight} pictures are being fetched, which is the limit", shed=Shed.FETCHES)
        self._in_flight += 1
        try:
            async with asyncio.timeout(self._seconds):
                return await self._follow(target, spend)
        except TimeoutError as error:
            raise ValidationFailed(f"The picture did not arrive from its URL within {self._seconds:g} s.") from error
        except _FAILURES as error:
            log.info("not fetched", host=target.host, port=target.port, reason=type(error).__name__)
            raise ValidationFailed(UNREACHABLE) from error
        finally:
            self._in_flight -= 1

    def close(self) -> None:
        """Release the resolver's threads."""
        self._resolver.close()

    async def _follow(self, target: Target, spend: Spend) -> bytes:
        """Get ``target``, or what it redirects to; every step is checked as if the client had asked for it."""
        for _ in range(MAX_REDIRECTS + 1):
            async with self._get(target) as response:
                if response.status not in _REDIRECTS:
                    return await self._body(response, spend)
                location = _header(response, b"location")
            if location is None:
                raise _unexpected(response.status)
            following = redirected(target, location)
            if target.scheme == "https" and following.scheme == "http":
                raise ValidationFailed("The server of the picture redirects from https to http, which is not followed.")
            target = following
        raise ValidationFailed(f"The URL of the picture redirects more than {MAX_REDIRECTS} times.")

    @asynccontextmanager
    async def _get(self, target: Target) -> AsyncIterator[httpcore.Response]:
        backend = CheckedBackend(self._resolver, self._judge, self._policy.allowed_reach(target), target.address)
        url = httpcore.URL(scheme=target.scheme, host=target.host, port=target.port, target=target.path)
        request = httpcore.Request(
            "GET",
            url,
            headers={
                "Host": target.authority,
                "User-Agent": f"crossmodal/{crossmodal.__version__}",
                "Accept": "image/*",
                "Accept-Encoding": "identity",
                "Connection": "close",
            },
            extensions={"timeout": {"connect": self._seconds * _CONNECT_SHARE}},
        )
        connection = httpcore.AsyncHTTPConnection(url.origin, ssl_context=self._tls, network_backend=backend)
        try:
            response = await connection.handle_async_request(request)
            backend.head_is_read()
            yield response
        finally:
            await connection.aclose()
            await backend.aclose()  # httpcore forgets a connection whose TLS handshake is cancelled

    async def _body(self, response: httpcore.Response, spend: Spend) -> bytes:
        if response.status != HTTPStatus.OK:
            raise _unexpected(response.status)
        if (_header(response, b"content-encoding") or b"identity").strip().lower() != b"identity":
            # It was asked for as it is. Decompressing would let a few bytes become any number.
            raise ValidationFailed("The server of the picture sends it compressed, which is not read.")
        declared = _header(response, b"content-length")
        if declared is not None and int(declared) > self._max_bytes:  # h11 let only digits through
            raise self._too_large()
        content = bytearray()
        chunks = 0
        async for chunk in response.aiter_stream():
            chunks += 1
            content += chunk
            if len(content) > self._max_bytes:
                raise self._too_large()
            if chunks > _FREE_CHUNKS + len(content) // _CHUNK_BYTES:
                raise httpcore.RemoteProtocolError
            spend(len(chunk))
        return bytes(content)

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The picture at the URL has more than the {self._max_bytes} bytes that are allowed.")


def _header(response: httpcore.Response, name: bytes) -> bytes | None:
    """The first header of that name (lower case)."""
    return next((value for key, value in response.headers if key.lower() == name), None)


def _unexpected(status: int) -> ValidationFailed:
    return ValidationFailed(f"The server of the picture answered with status {status} instead of 200.")
