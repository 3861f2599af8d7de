from ipaddress import ip_address

from crossmodal.fetching.network import SystemResolver


async def test_the_machine_is_asked() -> None:
    resolver = SystemResolver()
    found = await resolver.resolve("localhost")
    assert found
    assert set(found) <= {ip_address("127.0.0.1"), ip_address("::1")}
    assert len(set(found)) == len(found)
    resolver.close()


async def test_a_name_that_cannot_be_one_has_no_address() -> None:
    resolver = SystemResolver()
    assert list(await resolver.resolve("a" * 64 + ".localhost")) == []
    resolver.close()
