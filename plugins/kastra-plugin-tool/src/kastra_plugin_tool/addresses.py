"""Which addresses an http tool may connect to. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import attrs

from kastra_core.errors import ConfigError

__all__ = ["AddressPolicy"]

_NAT64 = IPv6Network("64:ff9b::/96")
"""RFC 6052; the last 32 bits are an IPv4 address, as in the old IPv4-compatible ``::a.b.c.d``."""
_TRANSLATED = IPv6Network("::ffff:0:0:0/96")
"""RFC 2765: IPv4-translated, the same for networks that translate by SIIT."""
_METADATA = (IPv4Address("168.63.129.16"), IPv4Address("100.100.100.200"), IPv6Address("fd00:ec2::254"))
"""Cloud metadata outside 169.254.0.0/16: Azure's wire server (a public address), Alibaba Cloud, AWS over IPv6."""


@attrs.frozen
class AddressPolicy:
    """Public addresses are open; all others need an entry by the operator."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    hosts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, entries: Sequence[str]) -> AddressPolicy:
        """Read the operator's list: addresses, CIDRs, host names.

        Raises:
            ConfigError: an entry with ``/`` is no network.
        """
        networks, hosts = [], set()
        for entry in entries:
            text = entry.strip().strip("[]")
            try:
                networks.append(ip_network(text, strict=False))
            except ValueError as error:
                if "/" in text or not text:
                    raise ConfigError(f"tools.http: {entry!r} is no address, CIDR or host name") from error
                hosts.add(text.lower().rstrip("."))
        return cls(tuple(networks), frozenset(hosts))

    def refusal(self, address: str, host: str) -> str | None:
        """Return why a connection to ``address`` (as it is handed to the socket) is refused, or None.

        A host that is allowed by name may be anywhere private, but not at a link-local or metadata address: those
        need an entry of their own. What is not an address in the usual spelling is refused.
        """
        try:
            given = ip_address(address.partition("%")[0])
        except ValueError:
            return f"{address!r} is no address in the usual spelling"
        for candidate in _meanings(given):
            word = _kind_of(candidate)
            if word is None or any(candidate in network for network in self.networks):
                continue
            if host.lower().rstrip(".") in self.hosts and word not in ("link-local", "a metadata service"):
                continue
            return f"{address} is {word}"
        return None


def _meanings(address: IPv4Address | IPv6Address) -> tuple[IPv4Address | IPv6Address, ...]:
    """The address, or the IPv4 addresses that it stands for."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return (address.ipv4_mapped,)
        if address.sixtofour is not None:
            return (address.sixtofour, address)
        if address.teredo is not None:
            return (*address.teredo, address)
        if address in _NAT64 or address in _TRANSLATED or (int(address) >> 32 == 0 and int(address) > 1):
            return (IPv4Address(int(address) & 0xFFFFFFFF),)
    return (address,)


def _kind_of(address: IPv4Address | IPv6Address) -> str | None:
    if address in _METADATA:
        return "a metadata service"
    if address.is_loopback:
        return "loopback"
    if address.is_link_local:
        return "link-local"
    if address.is_multicast:
        return "multicast"
    if address.is_unspecified:
        return "unspecified"
    return None if address.is_global else "private"
