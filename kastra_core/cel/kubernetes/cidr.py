"""Functions of network prefixes."""

from __future__ import annotations

from kastra_core.cel.functions import Function, Overload
from kastra_core.cel.kubernetes.addresses import CIDR, CIDR_TYPE, IP, IP_TYPE, parse_cidr, parse_ip
from kastra_core.cel.kubernetes.estimates import TEXT_FACTOR, fixed, reading, reading_argument, steps
from kastra_core.cel.types import BOOL, INT, STRING
from kastra_core.cel.values import EvaluationError, Frame

__all__ = ["FUNCTIONS"]

# Two addresses of 4 to 16 bytes are compared, and for containsCIDR one is masked.
_IP_COST = (1, 4)
_CIDR_COST = (3, 7)


def _read(frame: Frame, text: str) -> None:
    frame.charge(steps(len(text), TEXT_FACTOR))


def _cidr(frame: Frame, text: str) -> CIDR:
    _read(frame, text)
    return parse_cidr(text)


def _is_cidr(frame: Frame, text: str) -> bool:
    _read(frame, text)
    try:
        parse_cidr(text)
    except EvaluationError:
        return False
    return True


def _contains_ip(frame: Frame, cidr: CIDR, ip: IP) -> bool:
    return cidr.contains(ip.address)


def _contains_ip_text(frame: Frame, cidr: CIDR, text: str) -> bool:
    _read(frame, text)
    return cidr.contains(parse_ip(text).address)


def _contains_cidr(frame: Frame, cidr: CIDR, other: CIDR) -> bool:
    return cidr.bits <= other.bits and cidr.contains(other.address)


def _contains_cidr_text(frame: Frame, cidr: CIDR, text: str) -> bool:
    _read(frame, text)
    return _contains_cidr(frame, cidr, parse_cidr(text))


def _ip(frame: Frame, cidr: CIDR) -> IP:
    return IP(cidr.address)


def _masked(frame: Frame, cidr: CIDR) -> CIDR:
    return cidr.masked()


def _prefix_length(frame: Frame, cidr: CIDR) -> int:
    return cidr.bits


def _string(frame: Frame, cidr: CIDR) -> str:
    return str(cidr)


FUNCTIONS = (
    Function("cidr", (Overload(parameters=(STRING,), result=CIDR_TYPE, work=_cidr, estimate=reading()),)),
    Function("isCIDR", (Overload(parameters=(STRING,), result=BOOL, work=_is_cidr, estimate=reading()),)),
    Function(
        "containsIP",
        (
            Overload(
                parameters=(CIDR_TYPE, STRING),
                result=BOOL,
                work=_contains_ip_text,
                member=True,
                estimate=reading_argument(*_IP_COST),
            ),
            Overload(
                parameters=(CIDR_TYPE, IP_TYPE), result=BOOL, work=_contains_ip, member=True, estimate=fixed(*_IP_COST)
            ),
        ),
    ),
    Function(
        "containsCIDR",
        (
            Overload(
                parameters=(CIDR_TYPE, STRING),
                result=BOOL,
                work=_contains_cidr_text,
                member=True,
                estimate=reading_argument(*_CIDR_COST),
            ),
            Overload(
                parameters=(CIDR_TYPE, CIDR_TYPE),
                result=BOOL,
                work=_contains_cidr,
                member=True,
                estimate=fixed(*_CIDR_COST),
            ),
        ),
    ),
    Function("ip", (Overload(parameters=(CIDR_TYPE,), result=IP_TYPE, work=_ip, member=True),)),
    Function("masked", (Overload(parameters=(CIDR_TYPE,), result=CIDR_TYPE, work=_masked, member=True),)),
    Function("prefixLength", (Overload(parameters=(CIDR_TYPE,), result=INT, work=_prefix_length, member=True),)),
    Function("string", (Overload(parameters=(CIDR_TYPE,), result=STRING, work=_string),)),
)
