"""The pose of the camera arm: where it stands in mm, and its two angles in degrees."""

# Annotations are values here: `NamedTuple` would compile each text at every start.

from collections.abc import Iterator
from typing import Final, NamedTuple


class Pose(NamedTuple):
    """A pose of the camera arm: x, y, z in mm, pan and tilt in degrees; None leaves an axis where it is."""

    x: float | None = None
    y: float | None = None
    z: float | None = None
    pan: float | None = None
    tilt: float | None = None

    def completed_from(self, previous: "Pose") -> "Pose":
        """Return this pose with the axes that it leaves out taken from ``previous``."""
        return Pose(*(before if value is None else value for value, before in self._pairs(previous)))

    def shifted(self, offset: "Pose") -> "Pose":
        """Return the pose of a camera that sits at ``offset`` on the arm; an axis that is None stays None."""
        return Pose(*(None if value is None else value + (by or 0.0) for value, by in self._pairs(offset)))

    def _pairs(self, other: "Pose") -> Iterator[tuple[float | None, float | None]]:
        return zip(self, other, strict=True)

    def __str__(self) -> str:
        units = {"pan": "°", "tilt": "°"}
        known = ((name, value) for name, value in zip(AXES, self, strict=True) if value is not None)
        return "  ".join(f"{name} {value:.4g}{units.get(name, '')}" for name, value in known)


AXES: Final = Pose._fields
HOME: Final = Pose(0.0, 0.0, 0.0, 0.0, 0.0)
