"""Lets ``plantimager.controller.scanner.timelapse_store`` be ours where the community's controller isn't installed.

That package belongs to the controller, and no file can belong to two distributions. So ours is in a directory that is
on no path. A ``.pth`` file imports this module at the start of the interpreter; the finder in it adds our directory to
the package, unless that is a regular one: the controller's, in whatever way it is installed.
"""

# Every start of an interpreter pays for what is imported here: nothing that `site` doesn't import anyway.

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

FACE = os.path.join(os.path.dirname(__file__), "plantimager", "timelapse", "face")  # noqa: PTH118, PTH120 - as above
PACKAGES = ("plantimager.controller", "plantimager.controller.scanner")


class FaceFinder:
    """The finder of the packages around our module; before all other finders, which it asks first."""

    @classmethod
    def find_spec(
        cls, name: str, path: "Sequence[str] | None" = None, target: "ModuleType | None" = None
    ) -> "ModuleSpec | None":
        """Return the regular package that another finder has, else a namespace package with our directory in it."""
        if name not in PACKAGES:
            return None
        from importlib.machinery import ModuleSpec  # noqa: PLC0415 - as above

        portions: list[str] = []
        for finder in sys.meta_path:
            find = None if finder is cls else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None and spec.loader is not None:
                return spec
            portions += (spec and spec.submodule_search_locations) or ()
        package = ModuleSpec(name, None, is_package=True)
        package.submodule_search_locations = [*portions, os.path.join(FACE, *name.split("."))]  # noqa: PTH118 - as above
        return package


if FaceFinder not in sys.meta_path:
    sys.meta_path.insert(0, FaceFinder)
