"""The function libraries that CEL has in Kubernetes 1.36, besides CEL's standard functions.

Source:
    ``k8s.io/apiserver/pkg/cel/environment/base.go`` says which libraries, in which version.
"""

from __future__ import annotations

from kastra_core.cel.functions import Library, library
from kastra_core.cel.kubernetes import cidr, formats, ip, lists, quantity, regex, semver, sets, strings, urls

__all__ = ["LIBRARY"]

LIBRARY: Library = library(
    strings.FUNCTIONS,
    lists.FUNCTIONS,
    sets.FUNCTIONS,
    regex.FUNCTIONS,
    urls.FUNCTIONS,
    ip.FUNCTIONS,
    cidr.FUNCTIONS,
    quantity.FUNCTIONS,
    semver.FUNCTIONS,
    formats.FUNCTIONS,
)
"""Functions by name."""
