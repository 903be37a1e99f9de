"""The environment of an operator's program: made from scratch, the same by hand as under systemd."""

from __future__ import annotations

import os
import pwd

from plantimager.timelapse.drivers.programs.find import SEARCH_PATH


def basic_environment() -> dict[str, str]:
    """Return the variables that every program is given, whichever part of a rig it is."""
    environment = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8"}
    try:
        user = pwd.getpwuid(os.getuid())
    except KeyError:  # a user without an entry, as in some containers
        return {**environment, "HOME": "/"}
    return {**environment, "HOME": user.pw_dir, "USER": user.pw_name, "LOGNAME": user.pw_name}
