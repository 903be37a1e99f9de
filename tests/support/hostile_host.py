"""A rig whose service's account is hostile, and root who looks after it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

from daemon_process import CTL, PATIENCE

from plantimager.timelapse.settings.places import find_places

if TYPE_CHECKING:
    from pathlib import Path

SERVICE, STRANGER = 64_011, 64_012
SECRET = "the_secret_of_root"
DEFINITION = "definition.toml"
COMMANDS = (
    ["status"],
    ["status", "--json"],
    ["timeline"],
    ["timeline", "planted"],
    ["timeline", "--svg", "-", "planted"],
    ["verify"],
    ["datasets", "migrate"],
    ["datasets", "migrate", "--dry-run"],
    ["deliver"],
    ["deliver", "--retry"],
    ["deliver", "--forget", "plantdb"],
    ["notify"],
    ["notify", "--test"],
    ["names", "archives"],
    ["names", "slots"],
    ["names", "rigs"],
    ["cancel", "--yes"],
    ["start", "/dev/null"],
    ["rig", "home"],
    ["check"],
    ["check", DEFINITION],
    ["preview", DEFINITION],
    ["rigs"],
)


class HostileHost:
    """Root's own files, and beside them a storage directory and a relay's state that belong to the service."""

    def __init__(self, root: Path) -> None:
        self.root, self.own = root, root / "own"
        self.own.mkdir(mode=0o700)
        config = root / "config/plant-imager3-app"
        config.mkdir(parents=True)
        (self.own / DEFINITION).write_text(
            '[timelapse]\nname = "a"\nmode = "interval"\ninterval = "1s"\nn_shots = 2\nwarmup_period = 0\n'
        )
        (config / "timelapsed.toml").write_text(
            'driver = "command"\n[drivers.command]\nargv = ["/bin/true"]\n[relay.deliver.plantdb]\nurl = "http://127.0.0.1:9"\n[relay.notify]\n'
        )
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(root),
            "XDG_DATA_HOME": str(root / "data"),
            "XDG_CONFIG_HOME": str(root / "config"),
        }
        self.places = find_places(self.environment, storage=root / "data/plant-imager3-app")
        self.storage = self.places.store.parent
        for directory in (self.storage, self.places.history, self.places.datasets, self.places.relay_state):
            directory.mkdir(parents=True)

    def secret(self, name: str, content: bytes) -> Path:
        """Return a file of root alone."""
        path = self.own / name
        path.write_bytes(content)
        path.chmod(0o600)
        return path

    def hand_over(self) -> None:
        """Give the service what is its own, links included."""
        for top in (self.storage, self.places.relay_state):
            for path in (top, *top.rglob("*")):
                os.lchown(path, SERVICE, SERVICE)

    def ctl(self, *words: str) -> str:
        """Run a command as root, in a directory of root's; return all that it says."""
        done = subprocess.run(
            [*CTL, *words],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            cwd=self.own,
        )
        assert "Traceback" not in done.stderr
        assert "this is a fault in timelapsectl itself" not in done.stderr
        return done.stdout + done.stderr

    def state(self) -> dict[str, tuple[object, ...]]:
        """Return everything of root's: content, times, mode and owner."""
        found = {}
        for path in (self.own, *self.own.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (content, status.st_mtime_ns, status.st_mode, status.st_uid, status.st_gid)
        return found
