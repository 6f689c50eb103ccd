"""A model that answers: greedily, by likelihood, and with what training made put on."""

import copy
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from freshd.compare.effort import Stopwatch
from freshd.compare.language.device import Device, wait_for
from freshd.compare.language.memory import memory_told
from freshd.compare.language.student import student_of
from freshd.compare.language.training import Adapters, Tuning, TuningSettings, train
from freshd.compare.lessons import Lesson

_INSTRUCTION: Final = {"role": "system", "content": "Answer briefly."}
"""Said here, because where nothing is said some templates put in a long line of their own, in every lesson."""

_ENDED: Final = re.compile(r"\n|[.!?]\s")


_AT_ONCE: Final = {Device.CPU: 8, Device.CUDA: 16}
"""Questions that are answered together: weights are read once for all of them, and memory holds what each was shown."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One question to the model.

    Attributes:
        prompt: What is asked, context included; the model's own template is put around it.
        prefix: How the answer begins; not empty.
        options: Each is scored as the rest of the answer.

    """

    prompt: str
    prefix: str
    options: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Said:
    """A short greedy answer, and what the model thinks of the options.

    Attributes:
        text: What follows the prefix; the rest of one sentence, without its full stop.
        confidence: Geometric mean of the probabilities of its tokens.
        scores: Log-likelihood of each option as the rest of the answer, its full stop included:
            that keeps "30" from being likelier than "30 days" for the sole reason that it ends earlier.
        prompt_tokens: Template and prefix included.
        n_tokens: Generated.

    """

    text: str
    confidence: float
    scores: tuple[float, ...]
    prompt_tokens: int
    n_tokens: int


@dataclass(frozen=True, slots=True)
class Timing:
    """What it took to answer one question alone, in seconds; CPU seconds are of all of it."""

    prefill_s: float
    generation_s: float
    cpu_s: float


@dataclass(slots=True)
class _Line:
    """An answer as it grows."""

    tokens: list[int] = field(default_factory=list)
    logs: list[float] = field(default_factory=list)
    is_over: bool = False

    @property
    def confidence(self) -> float:
        return math.exp(sum(self.logs) / len(self.logs)) if self.logs else 0.0


def sentence(text: str) -> str:
    """End a text with one full stop: how every answer ends, in lessons and when it is scored."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


class LanguageModel:
    """A causal language model with its tokenizer, answering in single precision. For one thread.

    Attributes:
        name: As a reader knows it.
        identity: SHA-256 of its files.

    """

    def __init__(self, name: str, identity: str, model: Any, tokenizer: Any) -> None:
        """Take over what `load_model` loaded."""
        self.name = name
        self.identity = identity
        self._model = model.eval()
        self._tokenizer = tokenizer

    def answers(self, asked: Sequence[Asked], max_tokens: int = 0) -> list[Said]:
        """Continue answers, each time with the likeliest token, and score their options; several at once.

        Args:
            asked: May be none.
            max_tokens: An answer ends there, or earlier with its sentence or line; 0 for scores alone.

        Raises:
            FreshdError: Out of memory.

        """
        import torch

        size = _AT_ONCE[Device(self._model.device.type)]
        alike = sorted(range(len(asked)), key=lambda n: len(asked[n].prompt))
        said: dict[int, Said] = {}
        with memory_told("answer"), torch.inference_mode():
            for start in range(0, len(alike), size):
                places = alike[start : start + size]
                said.update(zip(places, self._answered([asked[n] for n in places], max_tokens), strict=True))
        return [said[n] for n in range(len(asked))]

    def timed(self, one: Asked, max_tokens: int) -> Timing:
        """Answer one question alone, as a user would ask it; its options do not count.

        Raises:
            FreshdError: Out of memory.

        """
        import torch

        prefill, generation = Stopwatch(), Stopwatch()
        with memory_told("answer"), torch.inference_mode():
            with prefill:
                logits, cache, mask = self._read([one])
                wait_for(self._model.device)
            with generation:
                self._continued(logits, cache, mask, max_tokens)
        return Timing(prefill.wall_s, generation.wall_s, prefill.cpu_s + generation.cpu_s)

    def tune(
        self,
        rounds: Sequence[Sequence[Lesson]],
        settings: TuningSettings,
        on_epoch: Callable[[int], tuple[float, bool]] = lambda _: (0.0, True),
        start: Adapters | None = None,
    ) -> Tuning:
        """Train adapters on lessons, beside a copy; the loss is that of the answers alone.

        Args:
            rounds: What each epoch goes over, at least one lesson each; after the last comes the first again.
            settings: Equal ones give equal adapters on the same machine.
            on_epoch: Hears how many epochs are over, while the copy answers with its adapters; tells how good
                it is now, and whether to go on. The best epoch's adapters are kept, of equally good ones the latest.
            start: Go on from these; None begins anew.

        Raises:
            ValueError: A round has no lessons.
            FreshdError: Out of memory.

        """
        import torch

        if not (rounds and all(rounds)):
            raise ValueError("nothing to learn from")

        torch.manual_seed(settings.seed)
        kept = self._model
        with memory_told("train"):
            try:
                self._model = student_of(kept)
                adapted = self._with_adapters(settings.rank, settings.alpha, start)
                encoded = [[self._encoded(lesson) for lesson in one] for one in rounds]
                return train(adapted, encoded, settings, on_epoch)
            finally:
                self._model = kept

    @contextmanager
    def wearing(self, adapters: Adapters | None) -> Iterator[None]:
        """Answer with adapters while the block lasts, merged in, as one who serves a tuned model does.

        The model's own weights are put back exactly, from a copy.

        Args:
            adapters: None is the model as it comes.

        """
        import torch

        names = adapters.parameters if adapters else ()
        kept = {name: self._model.get_parameter(name).detach().clone() for name in names}
        try:
            if adapters is not None:
                with memory_told("put adapters on"):
                    self._with_adapters(adapters.rank, adapters.alpha, adapters).merge_and_unload()
                self._model.eval()
            yield
        finally:
            with torch.no_grad():
                for name, weight in kept.items():
                    self._model.get_parameter(name).copy_(weight)

    def _answered(self, asked: Sequence[Asked], max_tokens: int) -> Iterator[Said]:
        logits, cache, mask = self._read(asked)
        scores = self._scored(logits, copy.deepcopy(cache) if max_tokens else cache, mask, asked)
        lines = self._continued(logits, cache, mask, max_tokens)
        for line, n_prompt in zip(lines, mask.sum(1).tolist(), strict=True):
            text = first_sentence(self._tokenizer.decode(line.tokens, skip_special_tokens=True))
            yield Said(text, line.confidence, next(scores), n_prompt, len(line.tokens))

    def _read(self, asked: Sequence[Asked]) -> tuple[Any, Any, Any]:
        """Read prompts, padded on the left.

        Returns:
            What comes next (questions, 1, vocabulary), the cache, and which tokens are no padding (questions, tokens).

        """
        prompts = [self._ids(self._templated(one.prompt)) + self._ids(one.prefix) for one in asked]
        longest = max(map(len, prompts))
        ids = self._tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = self._tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        places = (mask.cumsum(-1) - 1).clamp(min=0)
        read = self._model(input_ids=ids, attention_mask=mask, position_ids=places, use_cache=True, logits_to_keep=1)
        return read.logits, read.cache, mask

    def _scored(self, logits: Any, cache: Any, mask: Any, asked: Sequence[Asked]) -> Iterator[tuple[float, ...]]:
        """Give the log-likelihoods of every question's options; the cache is used up."""
        import torch

        rows = [n for n, one in enumerate(asked) for _ in one.options]
        tails = [self._ids(sentence(f" {option}")) for one in asked for option in one.options]
        found: list[float] = []
        if tails:
            longest = max(map(len, tails))
            padded = self._tensor([tail + [0] * (longest - len(tail)) for tail in tails])
            cache.batch_select_indices(self._tensor(rows))
            before = mask[rows]
            rest = self._model(
                input_ids=padded,
                attention_mask=torch.cat([before, torch.ones_like(padded)], dim=1),
                position_ids=before.sum(1, keepdim=True) + self._tensor(range(longest)),
                cache=cache,
            ).logits
            chances = torch.cat([logits[rows], rest[:, :-1]], dim=1).float().log_softmax(-1)
            each = chances.gather(-1, padded.unsqueeze(-1)).squeeze(-1).tolist()
            found = [math.fsum(row[: len(tail)]) for row, tail in zip(each, tails, strict=True)]
        scores = iter(found)
        return (tuple(next(scores) for _ in one.options) for one in asked)

    def _continued(self, logits: Any, cache: Any, mask: Any, max_tokens: int) -> list[_Line]:
        """Give for every question the tokens up to the end of its sentence; the cache is used up."""
        import torch

        lines, length = [_Line() for _ in mask], mask.sum(1, keepdim=True)
        token = None
        for step in range(max_tokens):
            if token is not None:
                mask = torch.cat([mask, torch.ones_like(length)], dim=1)
                logits = self._model(
                    input_ids=token, attention_mask=mask, position_ids=length + step - 1, cache=cache, logits_to_keep=1
                ).logits
            chance, token = logits.float().log_softmax(-1).max(-1)
            for line, one, log in zip(lines, token[:, -1].tolist(), chance[:, -1].tolist(), strict=True):
                self._grow(line, one, log)
            if all(line.is_over for line in lines):
                break
        return lines

    def _grow(self, line: _Line, token: int, log: float) -> None:
        if line.is_over or token in self._ends:
            line.is_over = True
            return
        line.is_over = bool(_ENDED.search(self._tokenizer.decode([*line.tokens, token])))
        if not line.is_over:
            line.tokens.append(token)
            line.logs.append(log)

    def _tensor(self, values: Sequence[Any]) -> Any:
        import torch

        return torch.tensor(values, device=self._model.device)

    @property
    def _ends(self) -> set[int]:
        declared = self._model.generation_config.eos_token_id
        return {self._tokenizer.eos_token_id, *(declared if isinstance(declared, list) else [declared])}

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _templated(self, prompt: str) -> str:
        if self._tokenizer.chat_template is None:
            return f"{self._tokenizer.bos_token or ''}{prompt}\n\n"
        from jinja2 import TemplateError

        asked = {"role": "user", "content": prompt}
        try:
            return self._turns([_INSTRUCTION, asked])
        except TemplateError:  # of a model that takes no instructions
            return self._turns([asked])

    def _turns(self, turns: Sequence[Mapping[str, str]]) -> str:
        return str(self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _encoded(self, lesson: Lesson) -> tuple[list[int], int]:
        """Give a lesson's tokens, and how many of them at the end are the answer."""
        asked = self._ids(self._templated(lesson.prompt))
        answer = [*self._ids(sentence(lesson.answer)), self._tokenizer.eos_token_id]
        return asked + answer, len(answer)

    def _with_adapters(self, rank: int, alpha: int, start: Adapters | None) -> Any:
        """Put adapters on every linear layer: new ones, which change nothing yet, or known ones."""
        import peft

        config = peft.LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the two libraries have to say to each other
            adapted: Any = peft.get_peft_model(self._model, config)
            if start is not None:
                peft.set_peft_model_state_dict(adapted, dict(start.weights))
        return adapted


def first_sentence(text: str) -> str:
    """Cut after the first line or sentence; dots within a number or an abbreviation end nothing."""
    return _ENDED.split(text.strip(), maxsplit=1)[0].strip().removesuffix(".")
