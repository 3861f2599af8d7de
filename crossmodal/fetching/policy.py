"""Which hosts may be asked, and at which ports: the operator's word, before any name is resolved."""

from collections.abc import Iterable
from dataclasses import dataclass

from crossmodal.errors import ConfigurationError, ValidationFailed
from crossmodal.fetching.addresses import Reach
from crossmodal.fetching.urls import DEFAULT_PORTS, Target, split_host

UNREACHABLE = (
    "The picture cannot be fetched from its URL: its host does not answer, or is not one this service fetches from."
)
"""One sentence for a name that does not exist, an address that is not public and a port nobody listens on: whoever
asks must not learn from the answer what there is in the network behind the service."""


@dataclass(frozen=True, slots=True)
class HostRule:
    """A host an operator listed; ``subdomains`` if all below it are meant and not itself.

    ``port`` is None for the ports 80 and 443.
    """

    host: str
    port: int | None = None
    subdomains: bool = False

    def covers(self, target: Target, ports: frozenset[int]) -> bool:
        """Whether ``target`` is meant; ``ports`` are those of a rule that names none."""
        if target.port not in (ports if self.port is None else {self.port}):
            return False
        if self.subdomains:
            return target.address is None and target.host.endswith(f".{self.host}")
        return target.host == self.host


def host_rules(entries: Iterable[str], variable: str, *, subdomains: bool = True) -> tuple[HostRule, ...]:
    """Read ``host``, ``host:port`` and, where ``subdomains`` may be listed, ``.domain``.

    Raises ``ConfigurationError`` naming the ``variable`` they came from.
    """
    rules: list[HostRule] = []
    for entry in entries:
        below = entry.startswith(".")
        if below and not subdomains:
            raise ConfigurationError(f"{variable}: the entry {entry!r} cannot be used: each host must be named")
        try:
            host, port, _ = split_host(entry[1:] if below else entry)
        except ValueError as error:
            raise ConfigurationError(f"{variable}: the entry {entry!r} cannot be used: {error}") from error
        rules.append(HostRule(host, port, below))
    return tuple(rules)


@dataclass(frozen=True, slots=True)
class FetchPolicy:
    """What may be fetched.

    ``hosts`` may be asked at their ports and must have public addresses; ``private_hosts`` may have addresses of the
    operator's own network, too. ``any_host`` lets every other name and address be asked at ``ports``, if public.
    """

    any_host: bool = False
    hosts: tuple[HostRule, ...] = ()
    private_hosts: tuple[HostRule, ...] = ()
    ports: frozenset[int] = frozenset(DEFAULT_PORTS.values())

    def allowed_reach(self, target: Target) -> frozenset[Reach]:
        """Which addresses ``target`` may have. Raises ``ValidationFailed`` if it may not be asked whatever it has."""
        if any(rule.covers(target, self.ports) for rule in self.private_hosts):
            return frozenset({Reach.PUBLIC, Reach.INTERNAL})
        if any(rule.covers(target, self.ports) for rule in self.hosts):
            return frozenset({Reach.PUBLIC})
        if not self.any_host:
            raise ValidationFailed("The host of the picture's URL is not among those this service fetches from.")
        if target.port not in self.ports:
            allowed = " and ".join(str(port) for port in sorted(self.ports))
            raise ValidationFailed(f"The URL of the picture names a port; only {allowed} are asked.")
        if target.address is None and "." not in target.host:
            # No public site has such a name; a resolver would try it in the domains of this network.
            raise ValidationFailed(UNREACHABLE)
        return frozenset({Reach.PUBLIC})
