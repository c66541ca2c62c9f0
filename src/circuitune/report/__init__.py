"""A run folder -> one self-contained HTML page; see README.md beside this file."""

from circuitune.report.render import build

__all__ = ["build"]
