"""The long-running daemon: what it is made of while it runs, and how it begins, reloads and ends.

process ─ signals ─▶ begin, reload, end
└─▶ Live (one config: whole + scheduler + reporter)  ◀── Control ◀── endpoint
"""

from freshd.daemon.process import run

__all__ = ["run"]
