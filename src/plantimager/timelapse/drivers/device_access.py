"""The cure where a device may not be opened: the kernel's two refusals have different causes."""

from __future__ import annotations

import errno


def cure_of_refusal(number: int | None, group: str, example: str) -> str | None:
    """Return what to do about an errno from opening a device; None if it is no refusal.

    ``group`` owns such devices, ``example`` is the drop-in of systemd/examples that gives access to them.
    """
    if number == errno.EACCES:
        return f"this user may not open it; add them to the group {group} (for the service: {example} does it)"
    if number == errno.EPERM:  # not the file's permissions, but the device control group of the service
        return (
            f"the service may not use such devices; put systemd/examples/{example} in place, or, where it is, restart "
            "the service: the driver was loaded after it"
        )
    return None
