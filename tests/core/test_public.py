"""Servers named over HTTP: only public addresses."""

import httpx
import pytest

from aiadmin_core.public import REFUSED, is_public, pinned

PUBLIC = "93.184.216.34"


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1:248:1893:25c8:1946", "::ffff:93.184.216.34"])
def test_what_anybody_can_reach_is_public(address):
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
     "::1", "::", "fe80::1%eth0", "fd12::1", "ff02::1", "::ffff:10.0.0.1"],
)  # fmt: skip
def test_what_only_this_machine_or_its_network_can_reach_is_not(address):
    assert not is_public(address)


def test_a_request_goes_to_the_address_that_was_judged_and_names_the_host():
    asked = httpx.Request("POST", "https://api.example:8443/v1/x?y=1", content=b"{}")
    sent = pinned(asked, [PUBLIC, "93.184.216.35"])
    assert str(sent.url) == f"https://{PUBLIC}:8443/v1/x?y=1"
    assert sent.headers["host"] == "api.example:8443"
    assert sent.extensions["sni_hostname"] == "api.example"


@pytest.mark.parametrize("addresses", [["127.0.0.1"], [PUBLIC, "10.0.0.1"], []])
def test_one_private_address_is_enough_to_refuse(addresses):
    with pytest.raises(httpx.ConnectError, match=REFUSED):
        pinned(httpx.Request("GET", "http://api.example/v1"), addresses)
