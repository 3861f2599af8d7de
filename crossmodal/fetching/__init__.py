"""Pictures of other servers, fetched by URL without becoming anybody's way into the network behind the service.

The guard is in three places, each of which would do alone for most attacks: ``urls`` reads one narrow grammar and
refuses everything else, ``policy`` says which hosts and ports may be asked at all, and ``network`` resolves a name
once, checks every address it has and connects to one of those it checked. ``addresses`` says what an address is.
"""

from crossmodal.fetching.base import Fetcher, Spend
from crossmodal.fetching.fetcher import HttpFetcher
from crossmodal.fetching.policy import FetchPolicy, HostRule, host_rules

__all__ = ["FetchPolicy", "Fetcher", "HostRule", "HttpFetcher", "Spend", "host_rules"]
