"""Functions of URLs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kastra_core.cel.functions import Function, Overload
from kastra_core.cel.kubernetes.estimates import TEXT_FACTOR, reading, steps
from kastra_core.cel.kubernetes.url import URL, URL_TYPE, check_url, parse_url
from kastra_core.cel.types import BOOL, STRING, CelType, list_of, map_of
from kastra_core.cel.values import EvaluationError, Frame

__all__ = ["FUNCTIONS"]


def _url(frame: Frame, text: str) -> URL:
    frame.charge(steps(len(text), TEXT_FACTOR))
    return parse_url(text)


def _is_url(frame: Frame, text: str) -> bool:
    frame.charge(steps(len(text), TEXT_FACTOR))
    try:
        check_url(text)
    except EvaluationError:
        return False
    return True


def _query(frame: Frame, url: URL) -> dict[str, list[str]]:
    frame.charge(len(url.query) >> 4)
    return url.parameters()


def _get(name: str, work: Callable[[URL], str]) -> Function:
    def read(frame: Frame, url: URL) -> str:
        return work(url)

    return _part(name, STRING, read)


def _part(name: str, result: CelType, work: Callable[..., Any]) -> Function:
    return Function(name, (Overload(parameters=(URL_TYPE,), result=result, work=work, member=True),))


FUNCTIONS = (
    Function("url", (Overload(parameters=(STRING,), result=URL_TYPE, work=_url, estimate=reading(keeps_size=True)),)),
    Function("isURL", (Overload(parameters=(STRING,), result=BOOL, work=_is_url),)),
    _get("getScheme", lambda url: url.scheme),
    _get("getHost", lambda url: url.host.decode("utf-8", "replace")),
    _get("getHostname", lambda url: url.hostname),
    _get("getPort", lambda url: url.port),
    _get("getEscapedPath", lambda url: url.escaped_path),
    _part("getQuery", map_of(STRING, list_of(STRING)), _query),
)
