"""What distributions require of one another, as ``packaging`` reads it; imported where it is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["holds", "meets", "normal_name", "parse_requirement", "text_of"]


def normal_name(name: str) -> str:
    """The name of a distribution or an extra as it is compared.

    >>> normal_name("Kastra_Plugin.acme")
    'kastra-plugin-acme'
    """
    from packaging.utils import canonicalize_name

    return canonicalize_name(name)


def meets(version: str, specifiers: str) -> bool | None:
    """Return whether a version is within specifiers (">=1.2,<2"); None when one of the two cannot be read.

    Pre-releases count as versions like all others: what is installed is installed.

    >>> meets("1.4", ">=1.2,<2"), meets("2.0rc1", "<3"), meets("latest", ">=1")
    (True, True, None)
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    try:
        return SpecifierSet(specifiers).contains(Version(version), prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return None


def parse_requirement(line: str) -> Requirement | None:
    """A line of ``Requires-Dist``, None when it cannot be read."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        return Requirement(line)
    except InvalidRequirement:
        return None


def holds(requirement: Requirement, extra: str = "") -> bool | None:
    """Whether a requirement holds in this environment, for an extra or without one; None: its marker says nothing."""
    from packaging.markers import UndefinedComparison, UndefinedEnvironmentName

    if requirement.marker is None:
        return True
    try:
        return requirement.marker.evaluate({"extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName):
        return None


def text_of(requirement: Requirement) -> str:
    """A requirement without its marker: "kastra-core[cel]>=0.1"."""
    extras = f"[{','.join(sorted(requirement.extras))}]" if requirement.extras else ""
    return f"{requirement.name}{extras}{f' @ {requirement.url}' if requirement.url else requirement.specifier}"
