"""Finding the function that a python tool names. The only place that imports what a manifest says."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from kastra_core.errors import TerminalError, nearest
from kastra_plugin_tool.policy import ToolPolicy

__all__ = ["find_function", "is_imported"]


def is_imported(target: str) -> bool:
    """Whether the module of ``module:function`` is imported and complete, so that finding the function is quick."""
    module = sys.modules.get(target.partition(":")[0])
    return module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False)


def find_function(target: str, policy: ToolPolicy) -> Callable[..., Any]:
    """Import ``module:function`` when the operator allows its module, and return the function.

    Blocks while the module is imported; call it in a thread unless :func:`is_imported`.

    Raises:
        TerminalError: reason ModuleNotAllowed, ModuleNotFound, ModuleFailed, FunctionNotFound or NotCallable.
    """
    module_name, _, attribute = target.partition(":")
    if not policy.allows_module(module_name):
        raise _not_allowed(module_name, f"the module {module_name!r} is not allowed for tools", policy)
    module = _import(module_name, policy)
    found: Any = module
    parts = attribute.split(".")
    for index, part in enumerate(parts):
        # Only a class may be passed through: 'allowed:os.system' must not lead out of the allowed module.
        if (index and not inspect.isclass(found)) or part.startswith("_") or not hasattr(found, part):
            known = [name for name in dir(found) if not name.startswith("_") and callable(getattr(found, name, None))]
            near = nearest(part, known)
            raise TerminalError(
                f"the module {module_name!r} has no function {attribute!r}",
                reason="FunctionNotFound",
                remedy=f"did you mean {near!r}?" if near else f"define it in {module_name}, or mend python.function",
            )
        found = getattr(found, part)
    _check_callable(found, target)
    home = getattr(inspect.unwrap(found), "__module__", None) or ""
    if not policy.allows_module(home):
        raise _not_allowed(home, f"{target} comes from the module {home!r}, which is not allowed for tools", policy)
    return found  # type: ignore[no-any-return]


def _not_allowed(module: str, message: str, policy: ToolPolicy) -> TerminalError:
    # The command replaces the list, so what is allowed already is named too.
    every = f"'[{', '.join([*policy.python_allow, module])}]'" if policy.python_allow else module
    return TerminalError(
        message,
        reason="ModuleNotAllowed",
        remedy=f"if you trust it: kastra config set tools.python.allow {every}",
    )


def _import(name: str, policy: ToolPolicy) -> Any:
    if name not in sys.modules:
        importlib.invalidate_caches()  # a module may have been written since the last try
        _put_project_on_path(name, policy.project)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            where = f"put it into {policy.project}, or install it" if policy.project else "install it"
            raise TerminalError(f"there is no module {missing!r}", reason="ModuleNotFound", remedy=where) from error
        raise TerminalError(
            f"the module {name!r} needs the module {missing!r}, which is not installed",
            reason="ModuleNotFound",
            remedy=f"install what provides {missing!r}",
        ) from error
    except (Exception, SystemExit) as error:
        raise TerminalError(
            f"the module {name!r} failed at import: {type(error).__name__}: {error}",
            reason="ModuleFailed",
            remedy=f"mend it; `python -c 'import {name}'` shows the traceback",
        ) from error


def _put_project_on_path(name: str, project: Path | None) -> None:
    """Make the project's own modules importable, at the end of sys.path: they replace nothing that is installed."""
    if project is None or str(project) in sys.path:
        return
    if PathFinder.find_spec(name.partition(".")[0], [str(project)]) is not None:
        sys.path.append(str(project))


def _check_callable(found: Any, target: str) -> None:
    if inspect.isclass(found):
        why = "is a class; name a function, or a method as 'module:Class.method'"
    elif not callable(found):
        why = f"is no function but {type(found).__qualname__}"
    elif inspect.isgeneratorfunction(found) or inspect.isasyncgenfunction(found):
        why = "is a generator; a tool returns one result"
    else:
        return
    raise TerminalError(f"{target} {why}", reason="NotCallable", remedy="name a function that returns JSON")
