"""What a comparison is about and what it saw: facts, arms, updates, answers. Plain and frozen; no I/O.

Fact ─▶ asked of every arm ─▶ Answer ┐
Arm  ─▶ brought up to date ─▶ Update ┴─▶ measures ─▶ costs ─▶ report
 └──▶ needs a Training, shared by arms
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SAMPLED: Final = "taught_sentences"
"""Setting that says of how many sentences how many were taught; there only where it was not all of them."""

SAMPLED_DOCUMENTS: Final = "documents"
"""Setting that says of how many documents how many took part; there only where it was not all of them."""


class FactKind(StrEnum):
    """What became of a fact between the two versions."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing the documents say, and how to ask for it.

    Attributes:
        fact_id: Unique in a comparison.
        question: As a person asks; no training ever sees it.
        prefix: How an answer begins, up to the value: "The notice period is".
        old: The value in the old version.
        new: The value in the new version; equal to `old` when unchanged, None when vanished.
        document: Id of the document that says it, in the version that says it last.
        distractors: Other values of the same sort, two for a changed fact, three otherwise; stand in neither version.
        is_development: Used to stop training and to time currency; left out of every figure that is reported.
        paraphrases: Other questions with the beginnings of their answers, which knowledge is taught by; never asked.

    """

    fact_id: str
    kind: FactKind
    question: str
    prefix: str
    old: str
    new: str | None
    document: str
    distractors: tuple[str, ...]
    is_development: bool = False
    paraphrases: tuple[tuple[str, str], ...] = ()

    @property
    def value(self) -> str | None:
        """What is right after the change; None where nothing is."""
        return self.new

    @property
    def options(self) -> tuple[str, ...]:
        """Four values to choose from: the right one first, or for a vanished fact the one that was."""
        own = (self.old,) if self.new is None or self.new == self.old else (self.new, self.old)
        return own + self.distractors


class Arm(StrEnum):
    """A way to answer after the change; the words are those of the report."""

    BASE = "base"
    """The model as it comes, no context."""
    RAG = "rag"
    """Retrieval over the updated index."""
    RAG_STALE = "rag_stale"
    """Control: retrieval over an index that was not updated."""
    TUNED_FROZEN = "tuned_frozen"
    """Fine-tuned on the old version, asked after the change."""
    TUNED_INCREMENTAL = "tuned_incremental"
    """That, trained on what changed and nothing else."""
    TUNED_REPLAY = "tuned_replay"
    """That, trained on what changed and, again, on the rest."""
    TUNED_RETRAINED = "tuned_retrained"
    """From the base, on all of the new version."""
    READER_RAG = "reader_rag"
    """Both, as recommended: fine-tuned once to answer from context, on other pages; retrieval over the new version."""
    FORMAT_RAG = "format_rag"
    """Control of that: fine-tuned on the form of answers alone."""
    TUNED_RAG = "tuned_rag"
    """Both, naively: fine-tuned on the old version, retrieval over the new one."""
    MIXED_RAG = "mixed_rag"
    """A mixed recipe: knowledge of the old version and reading from context in one training; retrieval over the new."""


class School(StrEnum):
    """A training: what is learned, and from where it starts."""

    OLD = "old"
    INCREMENTAL = "incremental"
    REPLAY = "replay"
    NEW = "new"
    READER = "reader"
    FORM = "form"
    MIXED = "mixed"


@dataclass(frozen=True, slots=True)
class Training:
    """One training that is over; what it made lies in a file, so that a run that goes on need not train again.

    Attributes:
        lessons: SHA-256 of all that was taught.
        n_lessons: In its first round.
        wall_s, cpu_s: Of training alone.
        peak_bytes: Largest resident memory of the process.
        tokens: That went through training, each epoch counted.
        curve: Seconds of training until the end of each epoch, and how good the model was then.
        known: Share of changed development facts whose value was the likeliest, after each epoch.
        rank, alpha: Of the adapters.
        file: Name of the file with the adapters' weights.
        sha256: Of that file.
        n_bytes: Of that file.

    """

    school: School
    seed: int
    learning_rate: float
    lessons: str
    n_lessons: int
    wall_s: float
    cpu_s: float
    peak_bytes: int
    tokens: int
    curve: tuple[tuple[float, float], ...]
    known: tuple[float, ...]
    rank: int
    alpha: int
    file: str
    sha256: str
    n_bytes: int


@dataclass(frozen=True, slots=True)
class Update:
    """What it took one arm to follow the change, once; what was trained before the change is in `before`.

    Attributes:
        wall_s: From the change to the end of the update.
        cpu_s: Of this process and its children.
        before_s: CPU seconds of what an arm needs once, before any change: first index, training on the old version,
            search for a learning rate.
        sweep_s: Those of them that went into trainings at other learning rates, done to find the best;
            None where nothing was trained, or they were not counted.
        peak_bytes: Largest resident memories of all processes involved, added up.
        n_processes: How many those were.
        measured_at: When the arm was through, RFC 3339 in UTC; None if that was not kept.
        trained_tokens: Tokens that went through training, each epoch counted.
        learning_rate: None where nothing was trained.
        curve: Wall seconds since the change, and the share of changed development facts known then.
        settings: Everything else that went into it, for the report.

    """

    arm: Arm
    seed: int
    wall_s: float
    cpu_s: float
    before_s: float = 0.0
    peak_bytes: int = 0
    trained_tokens: int = 0
    epochs: float = 0.0
    learning_rate: float | None = None
    curve: tuple[tuple[float, float], ...] = ()
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)
    sweep_s: float | None = None
    n_processes: int = 1
    measured_at: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What one arm answered to one question.

    Attributes:
        scores: Log-likelihood of each of the fact's `options` after the prefix, in their order.
        text: Short greedy answer, what follows the prefix.
        confidence: Probability the model gave to that text, geometric mean over its tokens; in [0, 1].
        cited: The document of the best passage it was shown; None without retrieval.
        is_grounded: The cited passage holds the right value; None without retrieval.
        prompt_tokens: Context and template included.
        retrieval_s, prefill_s, generation_s: Wall seconds of one query's parts.
        cpu_s: CPU seconds of the query in all; None, as are the last two, where it was answered beside others.
        answer_tokens: Generated ones, by the model's own tokenizer; None if they were not counted.

    """

    arm: Arm
    seed: int
    fact_id: str
    scores: tuple[float, ...]
    text: str
    confidence: float
    cited: str | None = None
    is_grounded: bool | None = None
    prompt_tokens: int = 0
    retrieval_s: float = 0.0
    prefill_s: float | None = 0.0
    generation_s: float | None = 0.0
    cpu_s: float | None = 0.0
    answer_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run was made with, as far as a reader needs it to believe or repeat it.

    Attributes:
        model: Name and hash of the language model.
        machine: Cores, processor, memory.
        n_documents: In the new version.
        is_quick: A subset of facts and arms.
        gpu: Name of the one that the model was on; None where it was on the processor.

    """

    model: str
    machine: str
    n_documents: int
    n_changed: int
    n_unchanged: int
    n_vanished: int
    seeds: tuple[int, ...]
    is_quick: bool
    settings: Mapping[str, str | int | float | None] = field(default_factory=dict)
    gpu: str | None = None


@dataclass(frozen=True, slots=True)
class Results:
    """Everything one comparison saw; may be read back from its file and told anew."""

    setup: Setup
    facts: tuple[Fact, ...]
    updates: tuple[Update, ...]
    answers: tuple[Answer, ...]
    trainings: tuple[Training, ...] = ()
