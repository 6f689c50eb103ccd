"""Training texts. Pure."""
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Lesson:
    """One thing to learn.

    Attributes:
        prompt: What is asked.
        answer: The whole answer; only this is learned.

    """

    prompt: str
    answer: str
