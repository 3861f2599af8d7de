import asyncio
import base64

import pytest

from crossmodal.errors import NotFound, PayloadTooLarge, ValidationFailed
from crossmodal.imaging import ImageLimits
from crossmodal.search.intake import FetchLimits, Intake, together
from crossmodal.search.pictures import PictureReader
from tests.fakes import FakeFetcher

URL = "https://pictures.example/x.png"


@pytest.fixture
def fetcher() -> FakeFetcher:
    return FakeFetcher({URL: b"fetched", "http://pictures.example/empty": b""})


def intake(fetcher: FakeFetcher | None, *, max_bytes: int = 1000, seconds: float = 5.0) -> Intake:
    limits = FetchLimits(max_bytes, seconds)
    return PictureReader(ImageLimits(), workers=1, max_queued=1, fetcher=fetcher, fetch_limits=limits).intake()


async def test_a_string_holds_a_picture_or_names_it(fetcher: FakeFetcher) -> None:
    reading = intake(fetcher)
    encoded = base64.b64encode(b"sent").decode()
    assert await reading.bytes_of(encoded) == b"sent"
    assert await reading.bytes_of(f"data:image/png;base64,{encoded}") == b"sent"
    assert fetcher.asked == []
    assert await reading.bytes_of(URL) == b"fetched"
    assert fetcher.asked == [URL]


async def test_without_a_fetcher_the_answer_says_how_to_have_one() -> None:
    with pytest.raises(ValidationFailed, match=r"switched off.*CROSSMODAL_FETCH_URLS"):
        await intake(None).bytes_of(URL)


@pytest.mark.parametrize("text", ["ftp://pictures.example/x.png", "file:///etc/hostname"])
async def test_other_addresses_never_reach_the_fetcher(fetcher: FakeFetcher, text: str) -> None:
    with pytest.raises(ValidationFailed, match=r"not a (ftp|file): address"):
        await intake(fetcher).bytes_of(text)
    assert fetcher.asked == []


async def test_nothing_is_no_picture(fetcher: FakeFetcher) -> None:
    with pytest.raises(ValidationFailed, match="sent nothing"):
        await intake(fetcher).bytes_of("http://pictures.example/empty")


async def test_pictures_of_a_request_share_their_bytes(fetcher: FakeFetcher) -> None:
    reading = intake(fetcher, max_bytes=20)
    assert [await reading.bytes_of(URL) for _ in range(2)] == [b"fetched"] * 2
    with pytest.raises(PayloadTooLarge, match="more than 20 bytes together"):
        await reading.bytes_of(URL)
    assert await intake(fetcher, max_bytes=20).bytes_of(URL) == b"fetched"  # the next request has its own


async def test_eight_are_fetched_at_a_time(fetcher: FakeFetcher) -> None:
    fetcher.release.clear()
    reading = intake(fetcher)

    async def release() -> None:
        for _ in range(8):
            await fetcher.entered.acquire()
        for _ in range(20):  # a ninth would come now
            await asyncio.sleep(0)
        assert len(fetcher.asked) == 8
        fetcher.release.set()

    contents, _ = await asyncio.gather(together(reading.bytes_of(URL) for _ in range(20)), release())
    assert contents == [b"fetched"] * 20
    assert fetcher.most_running == 8


async def test_pictures_of_a_request_share_their_time(fetcher: FakeFetcher) -> None:
    fetcher.release.clear()
    reading = intake(fetcher, seconds=0.1)
    outcomes = await asyncio.gather(*(reading.bytes_of(URL) for _ in range(10)), return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {ValidationFailed}
    assert "within 0.1 s" in str(outcomes[-1])
    assert fetcher.running == 0


async def test_when_one_fails_the_others_are_ended(fetcher: FakeFetcher) -> None:
    fetcher.release.clear()
    reading = intake(fetcher)

    async def fail() -> bytes:
        for _ in range(2):
            await fetcher.entered.acquire()
        raise NotFound("gone")

    with pytest.raises(NotFound):
        await together([reading.bytes_of(URL), fail(), reading.bytes_of(URL)])
    assert fetcher.running == 0


def test_closing_closes_the_fetcher(fetcher: FakeFetcher) -> None:
    PictureReader(ImageLimits(), workers=1, max_queued=1, fetcher=fetcher).close()
    assert fetcher.closed
