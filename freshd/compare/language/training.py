"""Trains adapters: lessons in batches of like length, the loss on answers alone, the best epoch kept."""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from freshd.compare.effort import Stopwatch
from freshd.compare.language.device import forget_peak, peak_bytes, wait_for

Encoded = tuple[list[int], int]
"""Tokens of a lesson, and how many of them at the end are the answer."""

_IGNORED: Final = -100
"""Label of a token that no loss is taken of."""

_LOWEST_PACE: Final = 0.1
_LONGEST_STEP: Final = 1.0
"""Largest norm of a gradient; a longer one is shortened."""


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """How a model is tuned; the same for every arm of a run.

    Attributes:
        epochs: At most so many passes over the lessons.
        batch: Lessons between two steps of the optimiser.
        rank: Of the adapters, on every linear layer.
        alpha: Over `rank`, what they are multiplied by.
        warm_up: Share of all steps in which the learning rate rises; after that it falls to a tenth.

    """

    learning_rate: float
    epochs: int
    seed: int = 0
    batch: int = 8
    rank: int = 16
    alpha: int = 32
    warm_up: float = 0.05


@dataclass(frozen=True, slots=True)
class Adapters:
    """What training made: small matrices beside those of the model, which stay as they were."""

    rank: int
    alpha: int
    weights: Mapping[str, Any] = field(repr=False)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the model's own matrices that they change."""
        names = (name.removeprefix("base_model.model.").partition(".lora_")[0] for name in self.weights)
        return tuple(dict.fromkeys(f"{name}.weight" for name in names))


@dataclass(frozen=True, slots=True)
class Tuning:
    """One training that is over.

    Attributes:
        adapters: Those after the best epoch, by what `on_epoch` answered.
        epochs: Trained in all, those after the best one included.
        wall_s: Of training alone; what `on_epoch` took is left out.
        cpu_s: Likewise.
        tokens: That went through the model, padding left out, each epoch counted.
        curve: Training seconds until the end of each epoch, and what `on_epoch` answered then.
        gpu_bytes: Largest memory of the GPU that was held; 0 without one.

    """

    adapters: Adapters
    epochs: int
    wall_s: float
    cpu_s: float
    tokens: int
    curve: tuple[tuple[float, float], ...]
    gpu_bytes: int = 0


def train(
    adapted: Any,
    rounds: Sequence[Sequence[Encoded]],
    settings: TuningSettings,
    on_epoch: Callable[[int], tuple[float, bool]],
) -> Tuning:
    """Go over the lessons until `on_epoch` has enough; keep the best adapters, of equally good ones the latest."""
    import torch

    order = random.Random(settings.seed)  # noqa: S311 - an order of lessons, no secret
    trainable = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(trainable, lr=settings.learning_rate, weight_decay=0.0)
    n_steps = sum(-(-len(rounds[epoch % len(rounds)]) // settings.batch) for epoch in range(settings.epochs))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(_pace, n_steps, settings.warm_up))
    best_score, best = float("-inf"), _adapters(adapted, settings)
    curve: list[tuple[float, float]] = []
    watch, tokens, goes_on = Stopwatch(), 0, True
    forget_peak(adapted.device)
    while goes_on and len(curve) < settings.epochs:
        lessons = rounds[len(curve) % len(rounds)]
        tokens += sum(len(ids) for ids, _ in lessons)
        adapted.train()
        with watch:
            for batch in _batches(lessons, settings.batch, order):
                with torch.autocast(adapted.device.type, adapted.dtype, enabled=adapted.dtype != torch.float32):
                    loss = _loss(adapted, batch)
                loss.backward()
                torch.nn.utils.clip_grad_norm_(trainable, _LONGEST_STEP)
                optimiser.step()
                schedule.step()
                optimiser.zero_grad()
            wait_for(adapted.device)
        adapted.eval()
        score, goes_on = on_epoch(len(curve) + 1)
        curve.append((watch.wall_s, score))
        if score >= best_score:
            best_score, best = score, _adapters(adapted, settings)
    gpu_bytes = peak_bytes(adapted.device)
    return Tuning(best, len(curve), watch.wall_s, watch.cpu_s, tokens, tuple(curve), gpu_bytes)


def _batches(lessons: Sequence[Encoded], size: int, order: random.Random) -> Iterator[Sequence[Encoded]]:
    """Give every lesson once, together with others about as long, in an order that is another one each time."""
    by_length = sorted(lessons, key=lambda lesson: (len(lesson[0]), order.random()))
    starts = list(range(0, len(by_length), size))
    order.shuffle(starts)
    return (by_length[start : start + size] for start in starts)


def _pace(n_steps: int, warm_up: float, step: int) -> float:
    """Give the share of the learning rate at one step: a ramp up, then a long one down."""
    n_rising = max(1, round(n_steps * warm_up))
    rising = (step + 1) / n_rising
    falling = 1 - (1 - _LOWEST_PACE) * max(0, step - n_rising) / max(1, n_steps - n_rising)
    return min(rising, falling)


def _loss(adapted: Any, batch: Sequence[Encoded]) -> Any:
    """Give the mean loss over the tokens of a batch's answers.

    Padded on the left, so that all answers end together and only their ends go through the output layer,
    which is a fifth of a small model.
    """
    import torch

    tensor = partial(torch.tensor, device=adapted.device)
    longest, n_kept = max(len(ids) for ids, _ in batch), max(n for _, n in batch)
    pads = [longest - len(ids) for ids, _ in batch]
    places = tensor(range(longest)).unsqueeze(0) - tensor(pads).unsqueeze(1)
    read = adapted(
        input_ids=tensor([[0] * pad + ids for pad, (ids, _) in zip(pads, batch, strict=True)]),
        attention_mask=(places >= 0).long(),
        position_ids=places.clamp(min=0),
        logits_to_keep=n_kept + 1,
        use_cache=False,
    )
    labels = tensor([[_IGNORED] * (n_kept - n) + ids[-n:] for ids, n in batch])
    said = read.logits[:, :-1].float().flatten(0, 1)
    return torch.nn.functional.cross_entropy(said, labels.flatten(), ignore_index=_IGNORED)


def _adapters(adapted: Any, settings: TuningSettings) -> Adapters:
    """Copy the adapters as they are now."""
    import peft

    weights = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
    return Adapters(settings.rank, settings.alpha, {name: weight.detach().clone() for name, weight in weights.items()})
