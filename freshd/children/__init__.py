"""Child processes that may hang, explode or die without harm to their parent.

    parent: Starter ─▶ Child.ask ── frames.py, over one socket ──▶ child: serving.py
                          │ deadline, kill by group, reap

What is asked, and what an answer means, is the business of the two rooms that talk.
Nothing heavy is imported here: children load it too, and are started anew after every failure.
"""

from freshd.children.process import Child, ChildFailed, Starter

__all__ = ["Child", "ChildFailed", "Starter"]
