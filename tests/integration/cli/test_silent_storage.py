"""A storage directory on a server that doesn't answer, by a real file system of FUSE."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import fuse_server
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ctl_host import Host

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to mount a file system")


@pytest.fixture
def server(host: Host) -> Iterator[int]:
    """Return the number of the process that serves the storage directory."""
    directory = host.store.parent
    directory.mkdir(parents=True)
    command = [sys.executable, fuse_server.__file__, directory]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        try:
            assert serving.stdout.readline().strip() == str(serving.pid)
            yield serving.pid
        finally:
            serving.kill()
            subprocess.run(["umount", "--lazy", directory], check=False)


def test_status_says_that_the_storage_directory_does_not_answer(host: Host, server: int) -> None:
    """It used to wait for ever; a rig's name makes it look at no file there either."""
    assert host.ctl("status").returncode == 0
    os.kill(server, signal.SIGSTOP)
    done = host.ctl("--rig", "north", "status", "--json")
    assert done.returncode == 1
    assert f"{host.store.parent} doesn't answer" in done.stderr
    assert "hint: see to its disk or its server" in done.stderr
    assert json.loads(done.stdout)["error"].endswith(f"{host.store.parent} doesn't answer")
    os.kill(server, signal.SIGCONT)
    assert host.ctl("status").returncode == 0
