"""How Ansible reaches a booted container: by the namespaces of its PID 1, whose number stands as the host's address."""

import shlex
import subprocess
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.plugins.connection import ConnectionBase

DOCUMENTATION = """
name: container
short_description: commands in a booted container
description: [Enters the namespaces of the process whose number is the host's address.]
author: timelapsed
options: {}
"""

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}


class Connection(ConnectionBase):
    """One container."""

    transport = "container"
    has_pipelining = True

    def _connect(self):
        return self

    def exec_command(self, cmd, in_data=None, sudoable=True):
        """Run a command; return its exit status and what it wrote."""
        super().exec_command(cmd, in_data=in_data, sudoable=sudoable)
        enter = ["nsenter", f"--target={self._play_context.remote_addr}", "--mount", "--uts", "--ipc", "--net", "--pid"]
        enter += ["--cgroup", "--root", "--wd", "/bin/sh", "-c", cmd]
        done = subprocess.run(enter, input=in_data or b"", capture_output=True, check=False, env=ENVIRONMENT)
        return done.returncode, done.stdout, done.stderr

    def put_file(self, in_path, out_path):
        """Copy a file into the container."""
        status, _, error = self.exec_command(f"cat > {shlex.quote(out_path)}", Path(in_path).read_bytes())
        if status:
            raise AnsibleError(f"{out_path}: {error.decode()}")

    def fetch_file(self, in_path, out_path):
        """Copy a file out of the container."""
        status, content, error = self.exec_command(f"cat {shlex.quote(in_path)}")
        if status:
            raise AnsibleError(f"{in_path}: {error.decode()}")
        Path(out_path).write_bytes(content)

    def close(self):
        """There is nothing to close."""
