"""The tries at one picture of a camera: how often it is repeated, and when the camera is opened again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from plantimager.timelapse.drivers.cameras.base import CameraFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from plantimager.timelapse.drivers.cameras.base import CameraPicture
    from plantimager.timelapse.scan.cameras import Camera


@dataclass
class Tries:
    """The tries at one picture of a camera, and what went wrong with them."""

    camera: Camera
    retries: int
    """How often an exposure is repeated with a camera that stays open, and as often once it was opened again."""
    description: str = ""
    """What the picture shows, for its EXIF."""
    earlier: Mapping[str, CameraPicture] = field(default_factory=dict)
    """The last picture that was kept of each camera, without its content."""
    faults: list[str] = field(default_factory=list)
    are_over: bool = False
    """Whether no further try is left."""
    reopens: bool = False
    """Whether the camera has to be opened again before the next try."""
    number: int = -1
    """Of the picture in the process of its camera, once it is transferred."""
    _left: int = field(init=False)
    _was_reopened: bool = False

    def __post_init__(self) -> None:
        self._left = self.retries

    def note_transfer(self, number: int) -> None:
        """Note the number of the picture in the process of its camera."""
        self.number = number

    def note(self, fault: CameraFault, *, is_open: bool) -> None:
        """Note a failed try. A camera that its fault has closed (it hung, its library crashed) is opened again."""
        self.faults.append(str(fault))
        self.reopens = False
        if fault.is_of_another:
            return
        if fault.is_lasting:
            self.are_over = True
        elif self._left and (is_open or self._was_reopened):
            self._left -= 1
        elif not self._was_reopened:
            self._was_reopened, self._left, self.reopens = True, self.retries, True
        else:
            self.are_over = True

    def compare_with_earlier(self, picture: CameraPicture) -> None:
        """Raise `CameraFault` for a picture that is the earlier one, or has another size where none is asked for."""
        earlier = self.earlier.get(self.camera.name)
        if earlier is None:
            return
        if picture.digest and picture.digest == earlier.digest:
            cure = "switch it off and on; a program has to wait for the new one"
            raise CameraFault(f"it gives the file of its picture before again; {cure}", raws=picture.raws)
        size = picture.facts["size"]
        before = earlier.facts.get("size", size)
        if (self.camera.res_x, self.camera.res_y) == (None, None) and size != before:
            has, had = (" × ".join(map(str, sides)) for sides in (size, before))
            problem = f"its picture has {has} pixels, those before had {had}; has it fallen back to another mode?"
            raise CameraFault(problem, raws=picture.raws)

    def __str__(self) -> str:
        return f"tried {len(self.faults)} times" if len(self.faults) > 1 else "tried once"
