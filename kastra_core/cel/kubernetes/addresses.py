"""IP addresses and prefixes, written and sorted into kinds as Go's ``net/netip`` does.

Not taken, though Go's parser takes them: zones (``fe80::1%eth0``) and IPv4 addresses within IPv6 (``::ffff:1.2.3.4``).
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import ClassVar

from kastra_core.cel.types import CelType, opaque
from kastra_core.cel.values import EvaluationError
from kastra_core.errors import shortened

__all__ = ["CIDR", "CIDR_TYPE", "IP", "IP_TYPE", "is_ipv6", "parse_cidr", "parse_ip"]

IP_TYPE = opaque("net.IP")
CIDR_TYPE = opaque("net.CIDR")

_LONGEST = 64
"""Characters; no address or prefix has more than 49, and a longer text need not be looked at."""
_LINK_LOCAL_MULTICAST = IPv4Network("224.0.0.0/24")
_LINK_LOCAL = (IPv4Network("169.254.0.0/16"), IPv6Network("fe80::/10"))


class IP:
    """An address: ``ip('10.0.0.1')``. ``str`` writes its canonical form."""

    __slots__ = ("address",)
    cel_type: ClassVar[CelType] = IP_TYPE

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self.address = address

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IP) and self.address == other.address

    def __hash__(self) -> int:
        return hash(self.address)

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"IP({str(self)!r})"

    @property
    def is_link_local_multicast(self) -> bool:
        if isinstance(self.address, IPv4Address):
            return self.address in _LINK_LOCAL_MULTICAST
        return self.address.packed[0] == 0xFF and self.address.packed[1] & 0x0F == 0x02

    @property
    def is_link_local_unicast(self) -> bool:
        return any(self.address in network for network in _LINK_LOCAL)

    @property
    def is_global_unicast(self) -> bool:
        """As in Go: a private address is one, too."""
        address = self.address
        if isinstance(address, IPv4Address) and address == IPv4Address("255.255.255.255"):
            return False
        return not (address.is_unspecified or address.is_loopback or address.is_multicast or self.is_link_local_unicast)


class CIDR:
    """An address and the bits of it that name a network: ``cidr('10.0.0.0/8')``. The rest need not be zero."""

    __slots__ = ("address", "bits")
    cel_type: ClassVar[CelType] = CIDR_TYPE

    def __init__(self, address: IPv4Address | IPv6Address, bits: int) -> None:
        self.address, self.bits = address, bits

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CIDR) and (self.address, self.bits) == (other.address, other.bits)

    def __hash__(self) -> int:
        return hash((self.address, self.bits))

    def __str__(self) -> str:
        return f"{self.address}/{self.bits}"

    def __repr__(self) -> str:
        return f"CIDR({str(self)!r})"

    def masked(self) -> CIDR:
        rest = self.address.max_prefixlen - self.bits
        return CIDR(type(self.address)(int(self.address) >> rest << rest), self.bits)

    def contains(self, address: IPv4Address | IPv6Address) -> bool:
        rest = self.address.max_prefixlen - self.bits
        return self.address.version == address.version and int(self.address) >> rest == int(address) >> rest


def parse_ip(text: str) -> IP:
    """Return the address that ``text`` writes.

    Raises:
        EvaluationError: it is none, has a zone or is an IPv4 address within IPv6.
    """
    return IP(_address(text, f"{shortened(text, 80)!r} is no IP address"))


def parse_cidr(text: str) -> CIDR:
    """Return the prefix that ``text`` writes, such as ``10.1.2.3/8``.

    Raises:
        EvaluationError: it is none, has a zone or is an IPv4 prefix within IPv6.
    """
    problem = f"{shortened(text, 80)!r} is no address with a prefix length"
    head, slash, tail = text.rpartition("/")
    if not slash:
        raise EvaluationError(f"{problem}; write it as in 10.0.0.0/8")
    address = _address(head, problem)
    digits = tail.isascii() and tail.isdigit() and len(tail) <= 3 and (tail == "0" or not tail.startswith("0"))
    if not digits or int(tail) > address.max_prefixlen:
        raise EvaluationError(f"{problem}: the length must be 0 to {address.max_prefixlen}, without leading zeros")
    return CIDR(address, int(tail))


def is_ipv6(text: str) -> bool:
    """Whether ``text`` is an IPv6 address, maybe with a zone: what brackets of a URL may hold."""
    address, percent, zone = text.partition("%")
    if (percent and not zone) or len(address) > _LONGEST:
        return False
    try:
        IPv6Address(address)
    except ValueError:
        return False
    return True


def _address(text: str, problem: str) -> IPv4Address | IPv6Address:
    if len(text) > _LONGEST or not text.isascii():
        raise EvaluationError(problem)
    if "%" in text:
        raise EvaluationError(f"{problem}: a zone is not allowed")
    try:
        address = ip_address(text)
    except ValueError:
        raise EvaluationError(problem) from None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        raise EvaluationError(f"{problem}: an IPv4 address within IPv6 is not allowed; write {address.ipv4_mapped}")
    return address
