"""One user's directories, with `timelapsectl` and the daemon run in them as processes."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from daemon_process import CTL, DAEMON, PATIENCE
from tree import STORES
from waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DEFINITION = """\
[timelapse]
name = "{name}"
mode = "interval"
interval = "1h"
n_shots = 3
warmup_period = 0
"""


class Host:
    """The directories of one user. The storage directory doesn't exist at first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = root / "data" / "plant-imager3-app" / "timelapse_storage.json"
        self.files = root / "config" / "plant-imager3-app"
        self.files.mkdir(parents=True)
        self.configure('clock = "trust"\n[drivers.simulated]\ntime_per_position = 0\nimage_width = 32\n')
        keep = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
        own = {"XDG_DATA_HOME": f"{root}/data", "XDG_CONFIG_HOME": f"{root}/config", "TMPDIR": str(root)}
        self.environment = {**keep, **own, "TZ": "CET-1CEST,M3.5.0,M10.5.0/3", "PYTHONWARNINGS": "error"}

    def configure(self, text: str) -> None:
        """Write the configuration."""
        (self.files / "timelapsed.toml").write_text(text)

    def define(self, name: str = "col0_ld", **changes: str | int) -> Path:
        """Write a definition outside the configuration directory; return its path."""
        path = self.root / f"{name}.toml"
        text = DEFINITION.format(name=name)
        for key, value in changes.items():
            text = re.sub(rf"^{key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        path.write_text(text)
        return path

    def copy_store(self, name: str) -> None:
        """Put one of the community's stores in place."""
        self.store.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(STORES / name, self.store)

    def wait_for(self, holds: Callable[[dict[str, Any]], bool], what: str) -> None:
        """Return once the store on disk has what a function looks for."""

        def is_there() -> bool:
            return self.store.exists() and holds(json.loads(self.store.read_bytes()))

        wait_until(is_there, within=PATIENCE, what=what)

    def command(self, *arguments: object) -> list[str]:
        """Return the command line of timelapsectl with these arguments."""
        return [*CTL, *map(str, arguments)]

    def ctl(self, *arguments: object, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run timelapsectl to its end, with ``changes`` of the environment."""
        environment = {**self.environment, **changes}
        done = subprocess.run(
            self.command(*arguments), env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert "Traceback" not in done.stderr
        return done

    @contextmanager
    def daemon(self, *, until: str = "idle:") -> Iterator[subprocess.Popen[bytes]]:
        """Run a daemon; yield it once ``until`` is in its log."""
        process = subprocess.Popen(DAEMON, env=self.environment, stderr=subprocess.PIPE)
        try:
            read_until(process.stderr, until)
            yield process
        finally:
            process.kill()
            process.wait()
            process.stderr.close()


def read_until(stream: Any, text: str) -> str:
    """Return the output of ``stream`` (a file or a descriptor) up to the chunk that completes ``text``."""
    output = ""
    while text not in output:
        assert select.select([stream], [], [], PATIENCE)[0], f"{text!r} didn't come after {output!r}"
        chunk = os.read(stream if isinstance(stream, int) else stream.fileno(), 65536).decode(errors="replace")
        assert chunk, f"it ended without {text!r}: {output!r}"
        output += chunk
    return output
