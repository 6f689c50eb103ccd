"""A model that answers: greedily, by likelihood, and with what training made put on."""

import copy
import math
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from freshd.compare.effort import Stopwatch
from freshd.compare.language.memory import memory_told
from freshd.compare.language.student import student_of
from freshd.compare.language.training import Adapters, Tuning, TuningSettings, train
from freshd.compare.lessons import Lesson

_INSTRUCTION: Final = {"role": "system", "content": "Answer briefly."}
"""Said here, because where nothing is said some templates put in a long line of their own, in every lesson."""

_ENDED: Final = re.compile(r"\n|[.!?]\s")


@dataclass(frozen=True, slots=True)
class Said:
    """A short greedy answer.

    Attributes:
        text: What follows the prefix; the rest of one sentence, without its full stop.
        confidence: Geometric mean of the probabilities of its tokens.
        prompt_tokens: Template and prefix included.
        n_tokens: Generated.

    """

    text: str
    confidence: float
    prompt_tokens: int
    n_tokens: int
    prefill_s: float
    generation_s: float


def sentence(text: str) -> str:
    """End a text with one full stop: how every answer ends, in lessons and when it is scored."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


class LanguageModel:
    """A causal language model with its tokenizer, on the CPU, answering in single precision. For one thread.

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
        self._prefilled: tuple[tuple[str, str], Any, Any] | None = None

    def answer(self, prompt: str, prefix: str, max_tokens: int = 16) -> Said:
        """Continue an answer that begins with `prefix`, each time with the likeliest token.

        Args:
            prompt: What is asked, context included; the model's own template is put around it.
            prefix: How the answer begins; not empty.
            max_tokens: The answer ends there, or earlier with its sentence or line.

        Raises:
            FreshdError: Out of memory.

        """
        import torch

        self._prefilled = None
        prefill, generation = Stopwatch(), Stopwatch()
        with memory_told("answer"), torch.inference_mode():
            with prefill:
                logits, cache, n_prompt = self._prefill(prompt, prefix)
            untouched = copy.deepcopy(cache)
            with generation:
                tokens, logs = self._greedy(logits, cache, max_tokens)
        self._prefilled = (prompt, prefix), logits, untouched
        text = first_sentence(self._tokenizer.decode(tokens, skip_special_tokens=True))
        confidence = math.exp(sum(logs) / len(logs)) if logs else 0.0
        return Said(text, confidence, n_prompt, len(tokens), prefill.wall_s, generation.wall_s)

    def score(self, prompt: str, prefix: str, options: Sequence[str]) -> tuple[float, ...]:
        """Give the log-likelihood of each option as the rest of an answer, its full stop included.

        The full stop keeps "30" from being likelier than "30 days" for the sole reason that it ends earlier.

        Args:
            prompt: As for `answer`; when it was the last one answered, it is not read again.
            prefix: How the answer begins.
            options: At least one.

        Raises:
            FreshdError: Out of memory.

        """
        import torch

        with memory_told("score"), torch.inference_mode():
            if self._prefilled and self._prefilled[0] == (prompt, prefix):
                _, logits, cache = self._prefilled
            else:
                logits, cache, _ = self._prefill(prompt, prefix)
            self._prefilled = None  # the cache is used up below
            tails = [self._ids(sentence(f" {option}")) for option in options]
            longest = max(map(len, tails))
            padded = torch.tensor([tail + [0] * (longest - len(tail)) for tail in tails])
            cache.batch_repeat_interleave(len(tails))
            rest = self._model(input_ids=padded, cache=cache).logits
            chances = torch.cat([logits.expand(len(tails), 1, -1), rest[:, :-1]], dim=1).float().log_softmax(-1)
            found = chances.gather(-1, padded.unsqueeze(-1)).squeeze(-1)
        return tuple(float(row[: len(tail)].sum()) for row, tail in zip(found, tails, strict=True))

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

        def hear(epoch: int) -> tuple[float, bool]:
            self._prefilled = None
            return on_epoch(epoch)

        torch.manual_seed(settings.seed)
        kept = self._model
        with memory_told("train"):
            try:
                self._model = student_of(kept)
                adapted = self._with_adapters(settings.rank, settings.alpha, start)
                encoded = [[self._encoded(lesson) for lesson in one] for one in rounds]
                return train(adapted, encoded, settings, hear)
            finally:
                self._prefilled, self._model = None, kept

    @contextmanager
    def wearing(self, adapters: Adapters | None) -> Iterator[None]:
        """Answer with adapters while the block lasts, merged in, as one who serves a tuned model does.

        The model's own weights are put back exactly, from a copy.

        Args:
            adapters: None is the model as it comes.

        """
        import torch

        self._prefilled = None
        names = adapters.parameters if adapters else ()
        kept = {name: self._model.get_parameter(name).detach().clone() for name in names}
        try:
            if adapters is not None:
                with memory_told("put adapters on"):
                    self._with_adapters(adapters.rank, adapters.alpha, adapters).merge_and_unload()
                self._model.eval()
            yield
        finally:
            self._prefilled = None
            with torch.no_grad():
                for name, weight in kept.items():
                    self._model.get_parameter(name).copy_(weight)

    def _prefill(self, prompt: str, prefix: str) -> tuple[Any, Any, int]:
        """Read a prompt; give what comes next (1, 1, vocabulary), the cache, and how many tokens it has."""
        import torch

        ids = self._ids(self._templated(prompt)) + self._ids(prefix)
        read = self._model(input_ids=torch.tensor([ids]), use_cache=True, logits_to_keep=1)
        return read.logits, read.cache, len(ids)

    def _greedy(self, logits: Any, cache: Any, max_tokens: int) -> tuple[list[int], list[float]]:
        """Give tokens up to the end of a sentence, and the log-likelihood of each."""
        import torch

        tokens: list[int] = []
        logs: list[float] = []
        while len(tokens) < max_tokens:
            if tokens:
                logits = self._model(input_ids=torch.tensor([tokens[-1:]]), cache=cache, logits_to_keep=1).logits
            chance, token = logits[0, -1].log_softmax(-1).max(-1)
            if int(token) in self._ends:
                break
            tokens.append(int(token))
            if _ENDED.search(self._tokenizer.decode(tokens)):
                tokens.pop()
                break
            logs.append(float(chance))
        return tokens, logs

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
