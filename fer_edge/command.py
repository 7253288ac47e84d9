"""What the commands share: exit codes, errors without tracebacks, results as JSON.

Exit codes: 0 done, 1 a gate failed, 2 bad usage or input, 3 a dependency or the hardware is
missing, 75 the given time is up and the command has to be run again, 130 interrupted.
"""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeAlias

from fer_edge import __version__
from fer_edge.artifacts.spec import PRECISIONS
from fer_edge.backends.base import INFERENCE_PRECISIONS
from fer_edge.backends.table import BACKENDS
from fer_edge.errors import ConfigurationError, FerEdgeError
from fer_edge.evaluation.data_source import DataSource
from fer_edge.system.files import is_device, is_same, require_folder, write_json

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from fer_edge.artifacts.model import Model
    from fer_edge.predictor import Predictor

Commands: TypeAlias = "_SubParsersAction[ArgumentParser]"
Handler: TypeAlias = Callable[[Namespace], int]

MODEL_HELP = "default or another packaged model's name, a model directory, or an artifact"

DATA_HELP = "FER2013 (zip, folder or CSV), a folder of classes, or a list file path,label"

INTERRUPTED = 130
"""Exit code of a command that was stopped from the keyboard, the same as in shells."""

_BROKEN_PIPE = 141
_NOT_A_FOLDER = "; give another path: a file stands where a folder is needed"
_NEXT_STEPS = {
    errno.ENOSPC: "; free some space, or write elsewhere",
    errno.EROFS: "; write elsewhere",
    errno.EACCES: "; give a path that you may read or write",
    errno.EISDIR: "; give the path of a file",
    errno.EINVAL: "; give the path of a file",
    errno.ENOENT: "; give a path that exists, or where files can be made",
    errno.ENOTDIR: _NOT_A_FOLDER,
    errno.EEXIST: _NOT_A_FOLDER,
}
"""What follows the system's own reason in a message."""
_STANDARD_OUTPUT = Path("-")


def command_parser(name: str, description: str, *, common: bool = True) -> ArgumentParser:
    """Start the parser of a command; one that has commands of its own leaves ``common`` to them."""
    parser = ArgumentParser(prog=name, description=description)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    if common:
        _add_common_options(parser)
    return parser


def add_command(commands: Commands, name: str, summary: str, handler: Handler) -> ArgumentParser:
    """Add a command of a command; ``summary`` is a phrase without a capital and a full stop."""
    sentence = f"{summary[0].upper()}{summary[1:]}."
    parser = commands.add_parser(name, help=summary, description=sentence)
    parser.set_defaults(handler=handler)
    _add_common_options(parser)
    return parser


class Output(Action):
    """The action of an option that names what a command writes, a file or a folder.

    Before the work ``run_command`` refuses a path that the command also reads, and one in a folder
    that cannot be written to.
    """

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: object, option: object = None
    ) -> None:
        """Store the path, and under which option it was given."""
        namespace.outputs = {**getattr(namespace, "outputs", {}), self.dest: option}
        setattr(namespace, self.dest, values)


def add_data_option(parser: ArgumentParser, *, required: bool = True, use: str = "") -> None:
    """Add ``--data`` and what belongs to it; ``data_of`` reads them."""
    parser.add_argument(
        "--data",
        metavar="DATA",
        type=Path,
        action=_OneData,
        required=required,
        help=f"{DATA_HELP}{use}",
    )
    add_data_choices(parser)


class _OneData(Action):
    """Refuses a second data set, of which the first would be left out in silence."""

    def __call__(
        self, parser: ArgumentParser, namespace: Namespace, values: object, _option: object = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            parser.error("give --data once; a list file can name the pictures of several folders")
        setattr(namespace, self.dest, values)


def add_data_choices(parser: ArgumentParser) -> None:
    """Add what a data set cannot tell by itself."""
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="what the classes of the data are, such as 1=surprise,2=fear,8=drop "
        "(default: by their names)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="read at most N pictures of each split"
    )


def data_of(options: Namespace) -> DataSource:
    """The data set that the options name."""
    rest = ("validation", "validation_share", "subject", "seed")
    given = {name: getattr(options, name) for name in rest if getattr(options, name, None)}
    return DataSource(options.data, options.classes, limit=options.limit, **given)


def add_validation_options(parser: ArgumentParser, *, seed: bool = False) -> None:
    """Add how the half to select on is found, where the data set has none of its own."""
    group = parser.add_argument_group("the half to select on")
    group.add_argument(
        "--validation", metavar="DATA", type=Path, help="another data set, to select on"
    )
    group.add_argument(
        "--validation-share",
        type=float,
        default=0.0,
        metavar="SHARE",
        help="select on this share of the training pictures of each class, drawn with --seed",
    )
    group.add_argument(
        "--subject",
        metavar="REGEX",
        help="finds the person in a picture's name; no person is then in both halves",
    )
    if seed:
        group.add_argument("--seed", type=int, default=0, metavar="N", help="of the share")


def add_predictor_options(parser: ArgumentParser) -> None:
    """Add the options of a Predictor, except for the model itself."""
    parser.add_argument("--backend", default="auto", help=f"auto, {', '.join(BACKENDS)}")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, gpu, npu")
    parser.add_argument("--precision", choices=PRECISIONS, help="default: the manifest's")
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="default: what fer-edge doctor --tune measured for auto, else the backend's choice",
    )
    parser.add_argument(
        "--inference-precision",
        choices=INFERENCE_PRECISIONS,
        help="compute in this precision instead of the artifact's own",
    )
    parser.add_argument(
        "--trust", action="store_true", help="open a TensorRT plan that this machine did not build"
    )


def open_predictor(model: str | Model, options: Namespace) -> Predictor:
    """Open a model as the options of ``add_predictor_options`` say."""
    from fer_edge.backends.base import BackendOptions
    from fer_edge.predictor import Predictor  # needs OpenCV, and fer-edge doctor must start without

    return Predictor(
        model,
        backend=options.backend,
        device=options.device,
        precision=options.precision,
        threads=options.threads,
        options=BackendOptions(
            inference_precision=options.inference_precision, trust=options.trust
        ),
    )


def run_command(parser: ArgumentParser, arguments: Sequence[str] | None) -> int:
    """Parse, call the handler, and turn what it raises into a message and an exit code."""
    options = parser.parse_args(arguments)
    handler: Handler = options.handler
    _write_any_character()
    try:
        _check_outputs(options)
        with _result_alone(options):
            code = handler(options)
        sys.stdout.flush()  # a closed pipe is noticed here instead of at exit
    except FerEdgeError as problem:
        if options.debug:
            raise
        say(f"{parser.prog}: {problem}")
        return problem.exit_code
    except BrokenPipeError:
        # the reader closed the pipe; this keeps Python from complaining at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    except OSError as problem:
        if options.debug:
            raise
        place = f"{problem.filename}: " if problem.filename else ""
        advice = _NEXT_STEPS.get(problem.errno or 0, "")
        say(f"{parser.prog}: {place}{problem.strerror or problem}{advice}")
        return FerEdgeError.exit_code
    except KeyboardInterrupt:
        say(f"{parser.prog}: interrupted; nothing was left half written")
        return INTERRUPTED
    return code


def say(message: str) -> None:
    """Print to standard error; standard output is for results."""
    print(message, file=sys.stderr, flush=True)


def write_result(options: Namespace, value: object) -> None:
    """Write the JSON result if ``--json`` asks for it; ``-`` is standard output."""
    if options.json == _STANDARD_OUTPUT:
        json.dump(value, options.stdout, indent=2, allow_nan=False)
        options.stdout.write("\n")
    elif options.json is not None:
        write_json(options.json, value)


def result_target(options: Namespace) -> Path | IO[str] | None:
    """Where ``--json`` asks the result to be written to, for a result that comes in pieces."""
    target: Path | IO[str] | None = options.json
    return options.stdout if target == _STANDARD_OUTPUT else target


@contextmanager
def _result_alone(options: Namespace) -> Iterator[None]:
    """While a command runs, let ``--json -`` have standard output for itself."""
    if options.json != _STANDARD_OUTPUT:
        yield
        return
    options.stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        yield


def _check_outputs(options: Namespace) -> None:
    """Refuse what cannot be written, or is also read, before the work."""
    outputs: dict[str, str] = getattr(options, "outputs", {})
    read = [value for name, value in vars(options).items() if name not in outputs]
    for name, flag in outputs.items():
        path = getattr(options, name)
        if path == _STANDARD_OUTPUT or is_device(path):
            continue
        if any(is_same(path, one) for one in _paths(read)):
            raise ConfigurationError(
                f"{flag} {path} is what this command reads; give another {flag}"
            )
        require_folder(path.absolute().parent)


def _paths(values: Iterable[object]) -> Iterator[str | Path]:
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from _paths(value)
        elif isinstance(value, Path) or (isinstance(value, str) and os.path.isfile(value)):
            yield value  # text may be a name, such as a preset's, and its folder another thing


def _write_any_character() -> None:
    """Escape characters that the terminal's encoding lacks, instead of failing at the first bar."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _path(text: str) -> Path:
    if not text:  # which would be the current folder
        raise ArgumentTypeError("expected a path, not an empty one; is a variable unset?")
    return Path(text)


def _add_common_options(parser: ArgumentParser) -> None:
    parser.register("type", Path, _path)  # for every option of type Path
    parser.add_argument(
        "--json",
        metavar="FILE",
        type=Path,
        action=Output,
        help="write the result to FILE; - is standard output",
    )
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
