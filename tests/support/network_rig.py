"""A file server in the emulated machine, and rigs whose datasets are on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from machine_rig import DATASETS, SCANS, MachineService

if TYPE_CHECKING:
    from qemu import Machine

EXPORT: Final = "/srv/export"

HOLD: Final = "/run/hold"

TAKE_SCAN: Final = f"""\
#!/bin/sh
pass() {{
    echo "{{\\"progress\\": [$1, 4]}}"
    while [ -e "{HOLD}/$2-$1" ]; do sleep 0.2; echo "{{\\"progress\\": [$1, 4]}}"; done
}}
for n in 0 1 2 3; do
    pass "$n" "$1"
    head -c 300000 /dev/urandom >"picture-$n.jpg" || exit 1
done
pass 4 "$1"
"""
"""A program that stops behind any number of pictures for as long as a test has it, and gives signs of life then."""

OVER_NETWORK: Final = """\
driver = "command"
datasets = "{datasets}"
clock = "trust"
stall_timeout = "20s"

[drivers.command]
argv = ["{program}", "{name}"]
stop_grace = "2s"
keep_free = "1 MB"
"""


class FileServer:
    """The NFS server of the machine. Clients have little time to ask for their locks again when it is back."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.write("/etc/nfs.conf.d/machine.conf", "[nfsd]\nthreads=4\nlease-time=10\ngrace-time=10\n")
        self.start()
        self.export(EXPORT)

    def export(self, directory: str) -> None:
        """Make a directory and export it. Root of a client is nobody there, as a server has it by default."""
        self._machine.run("install", "-d", "-o", "plant-imager", "-g", "plant-imager", "-m", "750", directory)
        line = f"{directory} 127.0.0.1(rw,sync,no_subtree_check)\n"
        self._machine.write(f"/etc/exports.d/{directory.rpartition('/')[2]}.exports", line)
        self._machine.run("exportfs", "-r")

    def mount(self, directory: str, point: str, options: str) -> None:
        """Mount an exported directory in place of what is mounted there; it shares nothing with other mounts."""
        self._machine.run("umount", point, check=False)
        source = f"127.0.0.1:{directory}"
        self._machine.run("mount", "-t", "nfs", "-o", f"{options},nosharecache,nodev", source, point)

    def start(self) -> None:
        """Have it serve."""
        self._machine.run("systemctl", "start", "nfs-server")

    def stop(self) -> None:
        """Have it serve no more; what hangs on it waits."""
        self._machine.run("systemctl", "stop", "nfs-server")


class NetworkRig(MachineService):
    """A rig with a program that scans, and with its datasets on the file server, by a mount of its own."""

    def __init__(self, machine: Machine, server: FileServer, name: str, options: str) -> None:
        super().__init__(machine, name)
        self.datasets, self.program = f"/srv/{name}", f"/usr/local/bin/take-scan-{name}"
        machine.write(self.program, TAKE_SCAN)
        machine.run("chmod", "755", self.program)
        machine.run("mkdir", "-p", self.datasets, HOLD)
        server.mount(EXPORT, self.datasets, options)
        example = DATASETS.read_text(encoding="utf-8").replace(SCANS, self.datasets)
        machine.write(f"/etc/systemd/system/{self.unit}.d/datasets.conf", f"{example}WatchdogSec=20s\n")
        machine.run("systemctl", "daemon-reload")
        self.configure(OVER_NETWORK.format(datasets=self.datasets, program=self.program, name=name))
        self.systemctl("restart")

    def kill(self) -> None:
        """Kill the daemon alone; its program is ended by the service manager."""
        self.rig.run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", self.unit)

    def hold(self, taken: int) -> None:
        """Have the program stop behind so many pictures, until `let_go`."""
        self.rig.run("touch", f"{HOLD}/{self.name}-{taken}")

    def wait_until_held(self, taken: int) -> None:
        """Wait until the program has stopped there."""
        self.wait_for_status(f"picture {taken} of 4")

    def let_go(self) -> None:
        """Have the program go on."""
        self.rig.run("sh", "-c", f"rm {HOLD}/{self.name}-*")
