"""Functions of IP addresses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Function, Overload
from kastra_core.cel.kubernetes.addresses import IP, IP_TYPE, parse_ip
from kastra_core.cel.kubernetes.estimates import TEXT_FACTOR, reading, steps
from kastra_core.cel.types import BOOL, INT, STRING
from kastra_core.cel.values import EvaluationError, Frame

__all__ = ["FUNCTIONS"]


def _ip(frame: Frame, text: str) -> IP:
    frame.charge(steps(len(text), TEXT_FACTOR))
    return parse_ip(text)


def _is_ip(frame: Frame, text: str) -> bool:
    frame.charge(steps(len(text), TEXT_FACTOR))
    try:
        parse_ip(text)
    except EvaluationError:
        return False
    return True


def _is_canonical(frame: Frame, text: str) -> bool:
    frame.charge(steps(len(text), 2 * TEXT_FACTOR))
    return str(parse_ip(text)) == text


def _string(frame: Frame, ip: IP) -> str:
    return str(ip)


def _family(frame: Frame, ip: IP) -> int:
    return ip.address.version


def _is(name: str, work: Callable[[IP], bool]) -> Function:
    def ask(frame: Frame, ip: Any) -> bool:
        return work(ip)

    return Function(name, (Overload(parameters=(IP_TYPE,), result=BOOL, work=ask, member=True),))


FUNCTIONS = (
    Function("ip", (Overload(parameters=(STRING,), result=IP_TYPE, work=_ip, estimate=reading()),)),
    Function("isIP", (Overload(parameters=(STRING,), result=BOOL, work=_is_ip, estimate=reading()),)),
    Function(
        "ip.isCanonical",
        (Overload(parameters=(STRING,), result=BOOL, work=_is_canonical, estimate=reading(2 * TEXT_FACTOR)),),
    ),
    Function("string", (Overload(parameters=(IP_TYPE,), result=STRING, work=_string),)),
    Function("family", (Overload(parameters=(IP_TYPE,), result=INT, work=_family, member=True),)),
    _is("isUnspecified", lambda ip: ip.address.is_unspecified),
    _is("isLoopback", lambda ip: ip.address.is_loopback),
    _is("isLinkLocalMulticast", lambda ip: ip.is_link_local_multicast),
    _is("isLinkLocalUnicast", lambda ip: ip.is_link_local_unicast),
    _is("isGlobalUnicast", lambda ip: ip.is_global_unicast),
)
