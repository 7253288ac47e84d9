"""What Predictor adds to its engine: time per crop, and the start and memory of a process."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np
import numpy.typing as npt

from fer_bench.candidates import choices
from fer_bench.environment import describe_environment
from fer_bench.tables import markdown_table
from fer_edge import EngineError, Predictor
from fer_edge.artifacts.model import DEFAULT_MODEL
from fer_edge.artifacts.record import encode
from fer_edge.backends import BACKENDS, Backend, BackendOptions, backend_class
from fer_edge.backends.open_model import open_backend
from fer_edge.command import (
    MODEL_HELP,
    Commands,
    add_command,
    add_predictor_options,
    say,
    write_result,
)
from fer_edge.errors import GateError
from fer_edge.images.preprocess import preprocess_all
from fer_edge.prediction import Prediction
from fer_edge.predictor import STREAM_BATCH
from fer_edge.system.progress import progress
from fer_edge.system.timing import call_times
from pages.blocks import MeasuredBlock, add_write_option

CROP_SHAPE = (180, 160, 3)
BATCH = 32

LIMITS = {
    "predict_us": 60.0,
    "batch_us": 25.0,
    "stream_share": 0.9,
    "prediction_us": 1.0,
    "import_s": 0.15,
    "first_answer_s": 0.5,
    "memory_mb": 150.0,
}
"""At most, and for ``stream_share`` at least."""

_AT_LEAST = ("stream_share",)
_ROWS = {
    "predict_us": ("`predict`, beyond the engine's call", "{:.0f} µs"),
    "batch_us": (f"`predict_batch` of {BATCH}, beyond the engine's call, per crop", "{:.0f} µs"),
    "stream_share": ("`predict_stream`, of the engine's own throughput", "{:.0%}"),
    "stream_share_all_cores": ("the same with every core for the engine", "{:.0%}"),
    "prediction_us": ("making one `Prediction`", "{:.1f} µs"),
    "import_s": ("`import fer_edge`, all of it, after numpy, OpenCV and the engine", "{:.2f} s"),
    "first_answer_s": ("`Predictor()` to its first answer", "{:.2f} s"),
    "memory_mb": ("memory of the process then", "{:.0f} MB"),
}
"""What each figure is of, and how it is written."""

_START = """
import json, sys, time
import numpy as np, cv2
model, settings = sys.argv[1], json.loads(sys.argv[2])
import {engine}
start = time.perf_counter()
import fer_edge
[getattr(fer_edge, name) for name in fer_edge.__all__]
imported = time.perf_counter()
options = fer_edge.BackendOptions(**settings.pop("options"))
fer = fer_edge.Predictor(model, options=options, **settings)
fer.predict(np.zeros({shape}, np.uint8))
answered = time.perf_counter()
status = open("/proc/self/status").read()
memory = int(status.split("VmRSS:")[1].split()[0]) * 1024 / 1e6
print(imported - start, answered - imported, memory)
"""


@dataclass(frozen=True)
class Overhead:
    """Medians on one engine. ``predict_us`` and ``batch_us`` are microseconds per crop of
    ``CROP_SHAPE``, everything included, beyond the bare call on a ready tensor. ``stream_share``
    is the throughput of ``predict_stream`` over that of the engine alone, both for throughput and
    with the same threads, in batches of the same size, as many side by side;
    ``stream_share_all_cores`` is that where the engine has every core, so that preparing crops
    takes its part of the same. ``prediction_us`` is what making one Prediction takes.
    """

    backend: str
    provider: str
    precision: str
    threads: int | None
    concurrency: int
    predict_us: float
    batch_us: float
    stream_share: float
    stream_share_all_cores: float
    prediction_us: float


@dataclass(frozen=True)
class Start:
    """The best of several new processes, with the files in the disk cache.

    ``import_s`` is all of ``fer_edge`` after numpy, OpenCV and the engine, ``first_answer_s`` from
    ``Predictor()`` to its first answer; ``memory_mb`` is then resident, in 10^6 bytes.
    """

    import_s: float
    first_answer_s: float
    memory_mb: float


def measure_overhead(
    model: str | os.PathLike[str],
    backend: str = "auto",
    *,
    precision: str | None = None,
    options: BackendOptions | None = None,
    rounds: int = 200,
) -> Overhead:
    """Measure one model on one engine. Raises what Predictor's constructor raises."""
    options = options or BackendOptions()
    engine, _ = open_backend(model, backend, options, precision=precision)
    with Predictor(backend=engine) as fer, progress(4, "overhead") as bar:
        info = fer.info
        crops = _crops(BATCH)
        tensor = preprocess_all(crops, info.spec.input)
        predict_s = _difference(
            lambda: fer.predict(crops[0]), lambda: engine.infer(tensor[:1]), rounds
        )
        bar.advance()
        size = min(BATCH, info.max_batch or BATCH)
        batch_s = _difference(
            lambda: fer.predict_batch(crops[:size]),
            lambda: engine.infer(tensor[:size]),
            max(5, rounds // 2),
        )
        bar.advance()
        shares = []
        for threads in (info.threads, None):
            abreast = replace(options, goal="throughput", threads=threads)
            other, _ = open_backend(model, info.backend, abreast, precision=info.precision)
            with Predictor(backend=other) as streaming:
                shares.append(_stream_share(streaming, other, crops, tensor, rounds))
            bar.advance()
        return Overhead(
            backend=info.backend,
            provider=info.provider,
            precision=info.precision,
            threads=info.threads,
            concurrency=info.concurrency,
            predict_us=predict_s * 1e6,
            batch_us=batch_s / size * 1e6,
            stream_share=shares[0],
            stream_share_all_cores=shares[1],
            prediction_us=_prediction_s() * 1e6,
        )


def measure_start(
    model: str | os.PathLike[str],
    backend: str,
    *,
    precision: str | None = None,
    options: BackendOptions | None = None,
    processes: int = 5,
) -> Start:
    """Measure new processes, on Linux.

    Raises EngineError if one fails, and MissingDependencyError where there is no such engine.
    """
    backend_class(backend)  # it is told to report nothing in this environment, which is theirs
    code = _START.format(engine=BACKENDS[backend].package, shape=CROP_SHAPE)
    given = encode(options or BackendOptions())
    settings = {"backend": backend, "precision": precision, "options": given}
    command = [sys.executable, "-c", code, os.fspath(model), json.dumps(settings)]
    runs = []
    for _ in range(processes):
        answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if answer.returncode:
            raise EngineError(f"a new process could not predict: {answer.stderr.strip()}")
        runs.append([float(number) for number in answer.stdout.split()])
    return Start(*(min(numbers) for numbers in zip(*runs, strict=True)))


def failures(overhead: Overhead, start: Start) -> list[str]:
    """What is beyond its limit, in words."""
    measured = {**vars(overhead), **vars(start)}
    return [
        f"{name} on {overhead.backend} is {_ROWS[name][1].format(measured[name])}, and should be "
        f"{_wanted(name)}"
        for name, limit in LIMITS.items()
        if (measured[name] < limit if name in _AT_LEAST else measured[name] > limit)
    ]


def table(measured: Sequence[tuple[Overhead, Start]]) -> str:
    """Everything measured, a column per engine, and its limit, as Markdown."""
    engines = [f"{overhead.backend}, {overhead.precision}" for overhead, _ in measured]
    figures = [{**vars(overhead), **vars(start)} for overhead, start in measured]
    rows = [
        [what, *(shown.format(own[name]) for own in figures), _wanted(name)]
        for name, (what, shown) in _ROWS.items()
    ]
    return markdown_table(("what", *engines, "wanted"), rows)


def _wanted(name: str) -> str:
    """The limit in words, a dash where there is none."""
    if name not in LIMITS:
        return "-"
    return f"at {'least' if name in _AT_LEAST else 'most'} {_ROWS[name][1].format(LIMITS[name])}"


def _crops(count: int) -> list[npt.NDArray[np.uint8]]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, CROP_SHAPE, np.uint8) for _ in range(count)]


def _seconds(call: Callable[[], object]) -> float:
    return call_times(call)[0]


def _difference(whole: Callable[[], object], part: Callable[[], object], rounds: int) -> float:
    """How much longer ``whole`` takes than ``part`` beside it, at the median of the rounds."""
    for call in (part, whole):
        call()
    differences = []
    for _ in range(rounds):
        bare = _seconds(part)
        differences.append(_seconds(whole) - bare)
    return statistics.median(differences)


def _stream_share(
    fer: Predictor,
    engine: Backend,
    crops: list[npt.NDArray[np.uint8]],
    tensor: npt.NDArray[np.uint8],
    rounds: int,
) -> float:
    size = min(STREAM_BATCH, fer.info.max_batch or STREAM_BATCH)
    side_by_side = fer.info.concurrency
    calls = max(8, rounds // 2) * side_by_side  # so many that starting threads does not count

    def alone() -> None:
        with ThreadPoolExecutor(side_by_side) as pool:
            list(pool.map(lambda _: engine.infer(tensor[:size]), range(calls)))

    def stream() -> None:
        for _ in fer.predict_stream(islice(cycle(crops), calls * size), batch=size):
            pass

    for warm_up in (alone, stream):
        warm_up()
    # pairs differ by a tenth on a machine that others share, their medians by less
    pairs = max(5, rounds // 10)
    return statistics.median(_seconds(alone) / _seconds(stream) for _ in range(pairs))


def _prediction_s() -> float:
    rows = np.full((1000, 7), 1 / 7, np.float32)
    return min(call_times(lambda: [Prediction(row, 0.5) for row in rows], fewest=20)) / 1000


SCHEMA = "fer-pages-overhead/2"


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "overhead",
        "measure what Predictor adds to its engine, and its start (--backend all)",
        _overhead,
    )
    parser.add_argument("model", nargs="?", default=DEFAULT_MODEL, help=MODEL_HELP)
    add_predictor_options(parser)
    parser.add_argument("--rounds", type=int, metavar="N", default=200, help="calls to measure")
    parser.add_argument("--check", action="store_true", help="fail if a limit is not kept")
    add_write_option(parser)


def _overhead(options: Namespace) -> int:
    block = MeasuredBlock(options.write, "overhead")
    settings = BackendOptions(
        options.device, options.threads, options.inference_precision, trust=options.trust
    )
    measured = []
    for backend, precision in choices(options.model, [options.backend], [options.precision]):
        overhead = measure_overhead(
            options.model, backend, precision=precision, options=settings, rounds=options.rounds
        )
        start = measure_start(
            options.model,
            overhead.backend,
            precision=precision,
            options=settings,
            processes=min(5, options.rounds),
        )
        measured.append((overhead, start))
    text = table(measured)
    print(text)
    environment = describe_environment()
    height, width, _ = CROP_SHAPE
    threads = " and ".join(sorted({str(overhead.threads) for overhead, _ in measured}))
    block.write(
        f"Crops of {height} x {width} pixels in colour, the model `{options.model}` on "
        f"{threads} thread(s) of {environment.cpu.model}.\n\n{text}"
    )
    engines = [{"overhead": encode(it), "start": encode(start)} for it, start in measured]
    result = {"schema": SCHEMA, "environment": encode(environment), "engines": engines}
    write_result(options, result)
    problems = [problem for pair in measured for problem in failures(*pair)]
    for problem in problems:
        say(problem)
    if problems and options.check:
        raise GateError("not every limit was kept")
    return 0
