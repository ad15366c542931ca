"""Other import paths of the same modules: those that programs written for DSPy use."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from typing import TYPE_CHECKING, Any

from mipro._names import absent

if TYPE_CHECKING:
    from types import ModuleType


def lend(package: str, **modules: ModuleType | None) -> list[str]:
    """Make modules importable as `package.NAME` too, and have the package say what it has not and why.

    Once it has imported a package, Python looks for `package.NAME` among the loaded
    modules before it searches for files.

    Args:
        package: Name of a module that is being imported.
        modules: Modules by the name that they get there. A name that the package
            itself uses for something else stays what it is. None is for a module of
            DSPy's whose names are absent here, and can be asked why.

    Returns:
        An empty `__path__`, for a package that is one file.
    """
    parent = sys.modules[package]
    for name, module in modules.items():
        path = f"{package}.{name}"
        if module is None:
            sys.modules[path] = module_from_spec(ModuleSpec(path, None, is_package=True))
            lend(path)
            continue
        sys.modules[path] = module
        if not hasattr(parent, name):
            setattr(parent, name, module)

    def missing(name: str) -> Any:
        raise absent(package, name)

    vars(parent).setdefault("__getattr__", missing)
    return []
