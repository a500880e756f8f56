"""The toolkit for migrators: documents with places, names, secrets, placeholders, and a report that misses no key.

:class:`Report` is where to begin; ``docs/plugins/migrators.md`` has a whole migrator.
"""

from kastra_core.migration.cel_texts import CEL_RESERVED, cel_literal, cel_member
from kastra_core.migration.models import PROVIDERS, model_name, model_parameters, provider_name
from kastra_core.migration.names import Names, dns_name, env_name, identifier
from kastra_core.migration.reading import FileSource, MemorySource, key_path, read_text
from kastra_core.migration.report import UNKNOWN, Draft, Node, Report
from kastra_core.migration.secret_texts import env_reference, hide_tokens, is_secret_key, looks_like_token
from kastra_core.migration.stubs import STUB_MODULE, Stubs
from kastra_core.migration.templates import escape_braces, rewrite

__all__ = [
    "CEL_RESERVED",
    "PROVIDERS",
    "STUB_MODULE",
    "UNKNOWN",
    "Draft",
    "FileSource",
    "MemorySource",
    "Names",
    "Node",
    "Report",
    "Stubs",
    "cel_literal",
    "cel_member",
    "dns_name",
    "env_name",
    "env_reference",
    "escape_braces",
    "hide_tokens",
    "identifier",
    "is_secret_key",
    "key_path",
    "looks_like_token",
    "model_name",
    "model_parameters",
    "provider_name",
    "read_text",
    "rewrite",
]
