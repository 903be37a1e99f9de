"""``timelapsectl demo``: a power cut in the middle of a scan, and the resume after it, without a rig."""

from __future__ import annotations

from plantimager.timelapse.cli.demo.scenario import run_demo

__all__ = ["run_demo"]
