"""The disk of a machine: Debian with its own kernel, and timelapsed installed with the delivered drop-ins."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import machine_agent
from debian import PACKAGES
from host import run_on_host

if TYPE_CHECKING:
    from container import Rig

DEBS: Final = (*PACKAGES, "udev", "kmod", "initramfs-tools", "linux-image-amd64", "e2fsprogs", "nfs-kernel-server")
"""What boots: the kernel with all its modules, what loads them, and a file server."""

PROGRAMS: Final = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils", "mkfs.ext4": "e2fsprogs"}
"""Programs of the host, and the Debian packages that have them."""

MODULES: Final = ("virtio_pci", "virtio_blk", "ext4")
"""Of the initial file system. All others are loaded by udev and systemd, as on any machine."""

SIZE: Final = "4G"

AGENT: Final = "/usr/local/lib/machine_agent.py"

UNITS: Final = {
    "agent": f"ExecStart=/usr/bin/python3 {AGENT}",
    "journal": "ExecStart=/usr/bin/journalctl --follow --no-tail --boot --output=json\n"
    "StandardOutput=file:/dev/virtio-ports/journal",
}
"""The services that talk to the host, each through the virtio port of its name."""

SERVER: Final = ("nfs-server.service", "nfs-client.target", "nfs-blkmap.service", "rpcbind.service", "rpcbind.socket")
"""What a file server and its clients are, which a test starts."""

UNIT: Final = """\
[Unit]
DefaultDependencies=no
After=systemd-journald.service
[Service]
{command}
[Install]
WantedBy=dev-virtio\\x2dports-{name}.device
"""
"""It is started by its port, however late that comes on a busy host."""


@dataclass(frozen=True)
class Image:
    """What QEMU boots."""

    kernel: Path
    initrd: Path
    disk: Path
    """A raw image of an ext4 file system, to which no machine writes."""


def missing() -> str:
    """Return which programs of the host are missing; empty if none is."""
    return ", ".join(package for program, package in PROGRAMS.items() if shutil.which(program) is None)


def make_bootable(rig: Rig) -> None:
    """Give an installed rig, which is off, an initial file system, and the services that talk to the host."""
    rig.write("/etc/initramfs-tools/conf.d/machine", "MODULES=list\nCOMPRESS=gzip\n")
    rig.write("/etc/initramfs-tools/modules", "\n".join(MODULES) + "\n")
    rig.build("update-initramfs", "-u", "-k", "all")
    rig.write("/etc/fstab", "/dev/vda / ext4 errors=remount-ro 0 1\n")
    rig.write(AGENT, Path(machine_agent.__file__).read_text(encoding="utf-8"))
    for name, command in UNITS.items():
        rig.write(f"/etc/systemd/system/host-{name}.service", UNIT.format(name=name, command=command))
    rig.build("systemctl", "disable", *SERVER)
    rig.build("systemctl", "enable", *(f"host-{name}.service" for name in UNITS))


def make_image(rig: Rig, directory: Path) -> Image:
    """Make the image of a rig, which is off, in an existing directory."""
    (kernel,), (initrd,) = rig.path("/boot").glob("vmlinuz-*"), rig.path("/boot").glob("initrd.img-*")
    image = Image(directory / "kernel", directory / "initrd", directory / "root.img")
    shutil.copyfile(kernel, image.kernel)
    shutil.copyfile(initrd, image.initrd)
    make_disk(image.disk, SIZE, "-d", str(rig.root))
    return image


def make_disk(path: Path, size: str, *options: str) -> None:
    """Make a raw image with an ext4 file system."""
    path.unlink(missing_ok=True)
    run_on_host(["mkfs.ext4", "-q", "-E", "lazy_itable_init=1,root_owner=0:0", *options, str(path), size])


def check_disk(path: Path) -> subprocess.CompletedProcess[str]:
    """Replay the journal of an ext4 image as a boot does, and check it; exit code 0 is a sound file system."""
    subprocess.run(["e2fsck", "-p", str(path)], check=False, capture_output=True)
    return subprocess.run(["e2fsck", "-f", "-n", str(path)], check=False, capture_output=True, text=True)


def read_file(image: Path, inside: str) -> bytes:
    """Return a file of an ext4 image."""
    return subprocess.run(["debugfs", "-R", f"cat {inside}", str(image)], check=True, capture_output=True).stdout
