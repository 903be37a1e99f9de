"""The store's documented face, at the place where the Plant Imager's controller documents it.

Everything is in `plantimager.timelapse.store`; this module only lends it the documented names. The
package around it belongs to the controller: nothing else of ours is here, and no ``__init__.py``.
"""

from plantimager.timelapse.store.document import (
    TIMELAPSE_STORAGE_JSON,
    ScanRecord,
    TimelapseStore,
    get_storage_dir,
)

__all__ = ["TIMELAPSE_STORAGE_JSON", "ScanRecord", "TimelapseStore", "get_storage_dir"]
