"""Several trainings in a row, in which earlier ones teach later ones or are their start.

A plan is a TOML file with a table per stage. Each stage is a run in a folder of its own name, so a
campaign can be interrupted and continued as a single run can.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import torch

from fer_edge.artifacts.record import decode, encode
from fer_edge.errors import ConfigurationError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.system.files import require_folder, sha256_of
from fer_train.assessment import Report, read_report
from fer_train.data import TrainingData, prepare
from fer_train.loop import BEST, Sources, run_id
from fer_train.parallel import Execution
from fer_train.pipeline import REPORT, train_model
from fer_train.presets import change, load_recipe, read_toml
from fer_train.recipe import Recipe
from fer_train.stored_answers import teach

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")


@dataclass(frozen=True)
class Stage:
    """One training of a campaign.

    ``recipe_name`` is the name of the recipe's file. ``initial`` and ``teachers`` are names of
    earlier stages, or paths of weights. With ``views`` above 0 the teachers answer so many views
    before the training (``fer_train.stored_answers``), once for all stages that they teach alike.
    """

    name: str
    recipe: Recipe
    recipe_name: str = ""
    initial: str | None = None
    teachers: tuple[str, ...] = ()
    views: int = 0


@dataclass(frozen=True)
class CampaignResult:
    """Whether a campaign is finished, and the reports of its finished stages by name."""

    finished: bool
    reports: dict[str, Report]


def load_plan(path: Path) -> tuple[Stage, ...]:
    """Read a plan: ``[[stages]]``, each with a ``name`` and a ``recipe``, a file beside the plan.

    ``change`` is a table of settings that differ from the recipe's; ``initial`` and ``teachers``
    name earlier stages, or weights by a path that is relative to the plan; ``views`` is how many
    views the teachers answer beforehand (0: they answer while the student learns). Raises
    ConfigurationError for a plan that cannot be read or does not fit together.
    """
    given = read_toml(path, "the plan")
    tables = given.get("stages")
    if given.keys() != {"stages"} or not isinstance(tables, list) or not tables:
        raise ConfigurationError(f"{path} should hold [[stages]] and nothing else")
    stages: list[Stage] = []
    for number, table in enumerate(tables, 1):
        stages.append(_stage(path, f"stage {number} of {path}", table, [s.name for s in stages]))
    return tuple(stages)


def run_campaign(
    stages: tuple[Stage, ...],
    data: Path | DataSource,
    out: Path,
    *,
    votes: Path | None = None,
    how: Execution = Execution(),
) -> CampaignResult:
    """Run the stages that are left, each in ``out/NAME``, until all are done or time is up.

    Call it again to continue; finished stages are not run again. Options and errors are those of
    ``train_model``.
    """
    require_folder(out)
    read = cache(lambda share, wanted: prepare(data, votes, share, wanted))
    reports: dict[str, Report] = {}
    for number, stage in enumerate(stages, 1):
        how.report(f"stage {number} of {len(stages)}: {stage.name}")
        prepared, sources = read(stage.recipe.votes, stage.recipe.input), _sources(stage, out)
        if stage.views and sources.teachers:
            answers = _answers_file(stage, sources, out)
            augmentation = stage.recipe.augmentation
            answered = not how.leads or teach(
                prepared, sources.teachers, answers, stage.views, augmentation, how=how
            )
            if not how.broadcast(torch.tensor(float(answered))):
                return CampaignResult(finished=False, reports=reports)
            sources = replace(sources, teachers=(), taught=answers)
        done = _finished(stage, prepared, sources, out / stage.name)
        if done is None:
            outcome = train_model(
                stage.recipe,
                prepared,
                out / stage.name,
                name=stage.recipe_name,
                sources=sources,
                how=how,
            )
            how.wait()  # the next stage reads what the first process wrote
            if not outcome.finished:
                return CampaignResult(finished=False, reports=reports)
            done = outcome.report
        if done is not None:
            reports[stage.name] = done
            how.report(f"{stage.name}: {done.scores.accuracy:.2%} on {done.split}")
    return CampaignResult(finished=True, reports=reports)


def _stage(path: Path, where: str, table: object, earlier: list[str]) -> Stage:
    given = dict(table) if isinstance(table, Mapping) else {}
    changes, file = given.pop("change", {}), given.get("recipe")
    if not isinstance(changes, Mapping):
        raise ConfigurationError(f"{where}: change should be a table of settings, not {changes!r}")
    if isinstance(file, str):
        recipe = change(load_recipe(path.parent / file), changes, where)
        given |= {"recipe": encode(recipe), "recipe_name": Path(file).name}
    stage = decode(Stage, given, where, ConfigurationError)
    if not _NAME.fullmatch(stage.name) or stage.name in earlier:
        raise ConfigurationError(
            f"{where}: {stage.name!r} should be a new name, of lower-case letters, digits and "
            "hyphens"
        )
    initial = None if stage.initial is None else _source(path, where, stage.initial, earlier)
    return replace(
        stage,
        initial=initial,
        teachers=tuple(_source(path, where, text, earlier) for text in stage.teachers),
    )


def _source(path: Path, where: str, text: str, earlier: list[str]) -> str:
    if text in earlier:
        return text
    if not (file := path.parent / text).is_file():
        raise ConfigurationError(
            f"{where}: {text!r} is neither an earlier stage ({', '.join(earlier) or 'none'}) nor "
            "a file beside the plan"
        )
    return str(file.resolve())


def _sources(stage: Stage, out: Path) -> Sources:
    def weights(text: str) -> Path:
        return Path(text) if Path(text).is_absolute() else out / text / BEST

    return Sources(
        None if stage.initial is None else str(weights(stage.initial)),
        tuple(map(weights, stage.teachers)),
    )


def _answers_file(stage: Stage, sources: Sources, out: Path) -> Path:
    """Name the file of answers after everything that they depend on."""
    teachers = [sha256_of(path) for path in sources.teachers]
    content = json.dumps([teachers, stage.views, encode(stage.recipe.augmentation)])
    return out / f"taught-{hashlib.sha256(content.encode()).hexdigest()[:12]}.safetensors"


def _finished(stage: Stage, data: TrainingData, sources: Sources, out: Path) -> Report | None:
    """Read the report of this stage, if exactly this training has finished."""
    path = out / REPORT
    if not path.is_file() or not (out / BEST).is_file():
        return None
    found = read_report(path)
    parent = None if sources.initial is None else sha256_of(Path(sources.initial))
    wanted = run_id(stage.recipe, data, parent, sources.learnt_from)
    return found if found.training_run == wanted else None
