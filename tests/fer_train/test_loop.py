"""The training loop: resumable to the bit, and safe when the loss breaks."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from small_training import SMALL
from torch.utils._python_dispatch import TorchDispatchMode

from fer_edge.artifacts.spec import NetworkSpec
from fer_edge.errors import ConfigurationError, DivergedError, EngineError
from fer_edge.torch_model import checkpoint
from fer_train.data import TrainingData, prepare
from fer_train.deadline import Deadline
from fer_train.evaluation import logits_of
from fer_train.journal import METRICS, read_journal
from fer_train.loop import BEST, LAST, Sources, Trainer, run_id
from fer_train.parallel import Execution
from fer_train.randomness import draw_step, draw_view

RECIPE = replace(SMALL, epochs=4, mixup=0.5)


@pytest.fixture(scope="module")
def data(tiny_fer2013: Path) -> TrainingData:
    """28 training and 21 validation drawings."""
    return prepare(tiny_fer2013)


def one_step(trainer: Trainer) -> tuple[torch.Tensor, torch.Tensor]:
    device = trainer.how.device
    draws = draw_step(0, 0, 0, trainer.how)
    return trainer._one_step(
        torch.arange(8, device=device), (0, draw_view(0, 0, 28, device)), draws
    )


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_state(
    data: TrainingData, tmp_path: Path
) -> None:
    trainer = Trainer(replace(RECIPE, epochs=2), data, tmp_path)
    trainer._one_epoch()
    kept = (tmp_path / LAST).read_bytes()
    with torch.no_grad():
        next(trainer.state.network.parameters()).fill_(float("nan"))
    with pytest.raises(DivergedError, match="batch 0 of epoch 2/2"):
        trainer._one_epoch()
    assert (tmp_path / LAST).read_bytes() == kept


def test_frozen_parts_keep_the_weights_that_they_started_with(
    data: TrainingData, tmp_path: Path
) -> None:
    Trainer(replace(RECIPE, epochs=1), data, tmp_path / "first").train()
    sources = Sources(initial=str(tmp_path / "first" / BEST))
    recipe = replace(RECIPE, epochs=1, frozen=("conv_stem", "blocks.0"))
    trainer = Trainer(recipe, data, tmp_path / "second", sources=sources)
    before = {k: v.clone() for k, v in trainer.state.network.state_dict().items()}
    trainer.train()
    after = trainer.state.network.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.startswith(("conv_stem.", "blocks.0."))}
    assert frozen
    assert kept == frozen


@pytest.mark.parametrize(
    ("frozen", "initial", "message"),
    [
        (("conv_stem",), False, "keep the weights of --init"),
        (("stem",), True, r"'stem', which is no part of test_efficientnet.*conv_stem"),
        (("",), True, "the whole network"),
    ],
)
def test_what_cannot_be_frozen_is_refused(
    frozen: tuple[str, ...], initial: bool, message: str, data: TrainingData, tmp_path: Path
) -> None:
    first = Trainer(RECIPE, data, tmp_path / "first")
    first.out.mkdir()
    first._evaluate()
    sources = Sources(initial=str(first.out / BEST) if initial else None)
    with pytest.raises(ConfigurationError, match=message):
        Trainer(replace(RECIPE, frozen=frozen), data, tmp_path / "second", sources=sources)


def test_what_is_kept_may_be_mixed_with_the_first_weights(
    data: TrainingData, tmp_path: Path
) -> None:
    Trainer(replace(RECIPE, epochs=1), data, tmp_path / "first").train()
    sources = Sources(initial=str(tmp_path / "first" / BEST))
    recipe = replace(RECIPE, epochs=1, initial_share=0.25)
    trainer = Trainer(recipe, data, tmp_path / "second", sources=sources)
    trainer.train()
    kept = load_file(tmp_path / "second" / BEST)
    first = load_file(tmp_path / "first" / BEST)
    last = dict(trainer.state.averaged.module.named_parameters())
    for name, weight in last.items():
        torch.testing.assert_close(kept[name], 0.25 * first[name] + 0.75 * weight.detach())
    assert any(not torch.equal(kept[name], first[name]) for name in last)


@pytest.mark.parametrize("initial", [None, "test_efficientnet"])
def test_weights_without_a_head_are_not_mixed(
    initial: str | None, data: TrainingData, tmp_path: Path
) -> None:
    source = None
    if initial is not None:
        source = str(tmp_path / "headless.safetensors")
        save_file(timm.create_model(initial, num_classes=0).state_dict(), source)
    recipe = replace(RECIPE, initial_share=0.5)
    with pytest.raises(ConfigurationError, match="give a finished checkpoint of this network"):
        Trainer(recipe, data, tmp_path / "out", sources=Sources(initial=source))


def test_evaluation_does_not_disturb_the_training_network(
    data: TrainingData, tmp_path: Path
) -> None:
    trainer = Trainer(RECIPE, data, tmp_path)
    before = {k: v.clone() for k, v in trainer.state.network.state_dict().items()}
    trainer._evaluate()
    after = trainer.state.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_logits_do_not_depend_on_the_batch(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(RECIPE, data, tmp_path)
    network, validation = trainer.state.network, data.validation
    chosen = validation.labels == 2
    whole = logits_of(network, trainer.spec, validation)
    part = logits_of(network, trainer.spec, validation.take(chosen))
    assert whole.shape == (21, 7)
    np.testing.assert_allclose(whole[chosen], part, atol=1e-5)


def test_a_student_learns_from_its_teacher(data: TrainingData, tmp_path: Path) -> None:
    """With nothing but the teacher in the loss, wrong labels do no harm."""
    Trainer(RECIPE, data, tmp_path / "teacher").train()
    sources = Sources(teachers=(tmp_path / "teacher" / BEST,))
    recipe = replace(RECIPE, distillation=1.0, mixup=0.0)
    labelled = Trainer(recipe, data, tmp_path / "a", sources=sources)
    wrong = replace(data, targets=np.roll(data.targets, 1, axis=1))
    mislabelled = Trainer(recipe, wrong, tmp_path / "b", sources=sources)
    for trainer in (labelled, mislabelled):
        trainer._one_epoch()
    pairs = zip(
        labelled.state.network.parameters(), mislabelled.state.network.parameters(), strict=True
    )
    assert all(torch.equal(a, b) for a, b in pairs)


def test_training_starts_from_the_weights_that_were_given(
    data: TrainingData, tmp_path: Path
) -> None:
    Trainer(replace(RECIPE, epochs=1), data, tmp_path / "first").train()
    best = tmp_path / "first" / BEST
    second = Trainer(RECIPE, data, tmp_path / "second", sources=Sources(initial=str(best)))
    trained, _ = checkpoint.load(best)
    given = second.state.network
    for name, value in trained.named_parameters():
        assert torch.equal(given.get_parameter(name), value)
    assert given.get_buffer("bn1.running_var").equal(trained.get_buffer("bn1.running_var"))


def test_the_name_of_a_run_tells_its_sources_apart(data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / "t.safetensors").write_bytes(b"some weights")
    names = {
        run_id(RECIPE, data, None, ()),
        run_id(RECIPE, data, None, [tmp_path / "t.safetensors"]),
        run_id(RECIPE, data, "0" * 64, ()),
        run_id(replace(RECIPE, seed=1), data, None, ()),
    }
    assert len(names) == 4


def test_logit_adjustment_favours_rare_classes_in_the_logits(
    data: TrainingData, tmp_path: Path
) -> None:
    plain = Trainer(RECIPE, data, tmp_path)
    adjusted = Trainer(replace(RECIPE, logit_adjustment=1.0), data, tmp_path)
    adjusted.log_priors = torch.log(torch.tensor([0.4, 0.01, 0.1, 0.2, 0.1, 0.09, 0.1]))
    targets, logits = torch.eye(7), torch.zeros(7, 7)
    rare, common = targets[1:2], targets[:1]

    def loss(trainer: Trainer, target: torch.Tensor) -> float:
        return float(trainer._loss(logits[:1], target))

    assert loss(adjusted, rare) > loss(plain, rare)
    assert loss(adjusted, common) < loss(plain, common)


def test_a_run_without_a_teacher_has_none_to_compile(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "compile", lambda network: network)
    assert Trainer(RECIPE, data, tmp_path, how=Execution(compiled=True)).teachers is None


@pytest.mark.long
def test_a_compiled_step_computes_the_same(data: TrainingData, tmp_path: Path) -> None:
    """Without dropout, whose random numbers a compiled step draws in its own way."""
    losses = []
    for compiled in (False, True):
        trainer = Trainer(
            replace(RECIPE, mixup=0.0, dropout=0.0),
            data,
            tmp_path,
            how=Execution(compiled=compiled),
        )
        trainer.forward.train()
        losses.append([float(one_step(trainer)[0]) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)


class Asked(TorchDispatchMode):
    """Collects what makes a host wait for its device: reading a value, or a shape that depends."""

    WAITING = ("_local_scalar_dense", "nonzero", "unique", "masked_select", "equal")

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        name = func.overloadpacket.__name__
        if name in self.WAITING:
            self.found.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_step_asks_the_device_for_nothing(
    clip: float | None, data: TrainingData, tmp_path: Path
) -> None:
    Trainer(replace(RECIPE, epochs=1), data, tmp_path / "teacher").train()
    sources = Sources(teachers=(tmp_path / "teacher" / BEST,))
    recipe = replace(RECIPE, mixup=1.0, gradient_clip=clip)
    trainer = Trainer(recipe, data, tmp_path, sources=sources)
    one_step(trainer)
    with Asked() as asked:
        loss, _ = one_step(trainer)
        assert asked.found == []
        loss.item()
    assert asked.found == ["_local_scalar_dense"]


def test_weights_that_a_last_step_ruined_are_not_saved(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own loss was a number; no evaluation follows that would show it."""
    trainer = Trainer(replace(RECIPE, evaluate_every=10), data, tmp_path)
    trainer._one_epoch()
    kept, real = (tmp_path / LAST).read_bytes(), trainer._one_step

    def step(*given: Any) -> tuple[torch.Tensor, torch.Tensor]:
        answer = real(*given)
        with torch.no_grad():
            next(trainer.state.network.parameters()).fill_(float("inf"))
        return answer

    monkeypatch.setattr(trainer, "_one_step", step)
    monkeypatch.setattr(trainer, "steps", 1)
    with pytest.raises(DivergedError, match=r"weights stopped being finite .* epoch 2/4"):
        trainer._one_epoch()
    assert (tmp_path / LAST).read_bytes() == kept


def test_bfloat16_is_what_the_recipe_says_and_close(data: TrainingData, tmp_path: Path) -> None:
    losses = {}
    for arithmetic in ("fp32", "bf16"):
        recipe = replace(RECIPE, arithmetic=arithmetic, dropout=0.0, mixup=0.0)
        trainer = Trainer(recipe, data, tmp_path / arithmetic)
        trainer.forward.train()
        seen: list[torch.dtype] = []
        stem = next(m for m in trainer.state.network.modules() if isinstance(m, torch.nn.Conv2d))
        stem.register_forward_hook(lambda _m, _i, out, seen=seen: seen.append(out.dtype))
        losses[arithmetic] = float(one_step(trainer)[0])
        assert seen == [torch.bfloat16 if arithmetic == "bf16" else torch.float32]
        assert {p.dtype for p in trainer.state.network.parameters()} == {torch.float32}
    assert losses["bf16"] == pytest.approx(losses["fp32"], rel=0.05)


def test_a_network_without_batch_norm_needs_no_clean_crops(
    data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared, needy = (
        Trainer(replace(RECIPE, network=NetworkSpec(name)), data, tmp_path / name)
        for name in ("test_vit2", "test_efficientnet")
    )
    monkeypatch.setattr("fer_train.loop._clean_crops", lambda *_: pytest.fail("took crops"))
    assert spared._evaluate()[1] > 0
    with pytest.raises(pytest.fail.Exception):
        needy._evaluate()


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def slowly(real: Any, clock: Clock, *given: object) -> Any:
    """Take a step, which lasts a second."""
    clock.now_s += 1
    return real(*given)


@pytest.mark.parametrize("minutes", [0.0, 2 / 60])
def test_stopped_within_epochs_again_and_again_it_ends_in_the_same_bits(
    minutes: float, data: TrainingData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, epochs=2, dropout=0.3)
    assert Trainer(recipe, data, tmp_path / "whole").train()
    turns, reached = 0, set()
    while True:
        clock = Clock()
        how = Execution(deadline=Deadline(minutes, clock))
        trainer = Trainer(recipe, data, tmp_path / "cut", how=how)
        monkeypatch.setattr(trainer, "_one_step", partial(slowly, trainer._one_step, clock))
        finished, turns = trainer.train(), turns + 1
        if finished:
            break
        reached.add(trainer.reached)
    assert turns > 2
    assert "epoch 0 of 2 and step 1 of 3" in reached or minutes
    for file in (LAST, BEST):
        whole, cut = ((tmp_path / name / file).read_bytes() for name in ("whole", "cut"))
        assert whole == cut, file
    losses = [
        [epoch.train_loss for epoch in read_journal(tmp_path / name / METRICS)]
        for name in ("whole", "cut")
    ]
    assert losses[0] == losses[1]


def failing(trainer: Trainer, problem: Exception) -> Trainer:
    def fail(*_: object) -> None:
        raise problem

    trainer._one_step = fail  # type: ignore[assignment,method-assign]
    return trainer


def test_what_a_machine_lacks_is_an_error_that_says_what_to_do(
    data: TrainingData, tmp_path: Path
) -> None:
    trainer = Trainer(replace(RECIPE, epochs=1), data, tmp_path)
    with pytest.raises(EngineError, match="smaller --batch-size"):
        failing(trainer, torch.OutOfMemoryError("tried to allocate 2 GiB")).train()
    trainer.how = Execution(compiled=True)
    with pytest.raises(EngineError, match="leave out --compile"):
        failing(trainer, RuntimeError("no C++ compiler")).train()


def test_a_defect_of_ours_keeps_its_traceback(data: TrainingData, tmp_path: Path) -> None:
    trainer = Trainer(replace(RECIPE, epochs=1), data, tmp_path)
    with pytest.raises(RuntimeError, match="a defect"):
        failing(trainer, RuntimeError("a defect")).train()


def test_what_a_killed_run_left_half_written_is_removed(data: TrainingData, tmp_path: Path) -> None:
    (tmp_path / f".{LAST}.0123.tmp").touch()
    Trainer(replace(RECIPE, epochs=1), data, tmp_path).train()
    assert not list(tmp_path.glob(".*.tmp"))
