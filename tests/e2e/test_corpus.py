"""Every bad request of the corpus against a running server; a sample of them where the model is in its own service."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.corpus.__main__ import TIMEOUT
from tests.corpus.cases import Case, all_cases
from tests.corpus.running import Examiner
from tools.servers import Server

pytestmark = pytest.mark.e2e

CASES = all_cases()
SAMPLED = [case for case in CASES if case.sampled]


@pytest.fixture(scope="session")
def examiner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Examiner]:
    """Of a server of its own, with the model in the API's process and little time for a request."""
    server = Server(tmp_path_factory.mktemp("corpus"), TIMEOUT=TIMEOUT)
    try:
        server.wait_until_ready()
        examiner = Examiner(server)
        examiner.prepare()
        yield examiner
        examiner.close()
    finally:
        server.stop()


@pytest.fixture(scope="session")
def split_examiner(split_server: Server) -> Iterator[Examiner]:
    """Of the server whose model is in the Encoder service."""
    examiner = Examiner(split_server)
    yield examiner
    examiner.close()


def test_the_corpus_is_wide() -> None:
    by_class = Counter(case.group for case in CASES)
    assert by_class.total() >= 500
    assert min(by_class.values()) >= 20, by_class
    assert 20 <= len(SAMPLED) <= 40
    assert {case.group for case in SAMPLED} == set(by_class)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_bad_request_is_refused_in_order(examiner: Examiner, case: Case) -> None:
    assert examiner.examine(case) == []


@pytest.mark.parametrize("case", SAMPLED, ids=lambda case: case.name)
def test_with_the_model_in_its_own_service_too(split_examiner: Examiner, case: Case) -> None:
    assert split_examiner.examine(case) == []
