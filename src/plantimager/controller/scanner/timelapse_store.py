"""The store's documented names, at the place where the Plant Imager's controller documents them.

Everything is in `plantimager.timelapse.store.documented`, whose docstring has a table of all deviations. The package
around this module belongs to the controller: nothing else of ours is here, and no ``__init__.py``.
"""

from plantimager.timelapse.store.documented import (
    ScanRecord,
    TimelapseStore,
    _dt_to_iso,
    _enum_to_str,
    _iso_to_dt,
    _str_to_enum,
)
from plantimager.timelapse.store.location import TIMELAPSE_STORAGE_JSON, get_storage_dir

__all__ = [
    "TIMELAPSE_STORAGE_JSON",
    "ScanRecord",
    "TimelapseStore",
    "_dt_to_iso",
    "_enum_to_str",
    "_iso_to_dt",
    "_str_to_enum",
    "get_storage_dir",
]
