"""The store's documented names, at the place where the Plant Imager's controller documents them.

Everything is in `plantimager.timelapse.store.documented`, whose docstring has a table of all deviations. The package
around this module belongs to the controller: nothing else of ours is here, and no ``__init__.py``.

This name stands for that very module, so that a name that others replace here is the one that the code uses.
"""

import sys

from plantimager.timelapse.store import documented
from plantimager.timelapse.store.documented import *  # noqa: F403 - its `__all__` names what is documented

sys.modules[__name__] = documented
