"""What the commands share: exit codes, messages, the JSON result."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path

import pytest

from fer_edge import __version__, errors
from fer_edge.command import (
    Output,
    add_command,
    add_data_option,
    command_parser,
    run_command,
    say,
    write_result,
)
from fer_edge.errors import DataError, FerEdgeError


def command(handler: Callable[[Namespace], int]) -> ArgumentParser:
    parser = command_parser("fer-test", "Test.")
    parser.set_defaults(handler=handler)
    return parser


def raising(problem: BaseException) -> ArgumentParser:
    def fail(_: Namespace) -> int:
        raise problem

    return command(fail)


@pytest.mark.parametrize("code", [0, 1])
def test_the_handler_decides_the_exit_code(code: int) -> None:
    assert run_command(command(lambda _: code), []) == code


@pytest.mark.parametrize(
    "kind", [FerEdgeError, *FerEdgeError.__subclasses__()], ids=lambda kind: kind.__name__
)
def test_an_error_of_ours_gives_its_exit_code(kind: type[FerEdgeError]) -> None:
    arguments = ("onnx", "export") if kind is errors.MissingDependencyError else ("no",)
    assert run_command(raising(kind(*arguments)), []) == kind.exit_code


def test_an_error_of_ours_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(raising(DataError("there is no data")), [])
    assert capsys.readouterr() == ("", "fer-test: there is no data\n")


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "give a path that you may read or write"),
        (errno.ENOSPC, "free some space, or write elsewhere"),
        (errno.EROFS, "write elsewhere"),
        (errno.ENOTDIR, "give another path: a file stands where a folder is needed"),
        (errno.EEXIST, "give another path: a file stands where a folder is needed"),
        (errno.ENOENT, "give a path that exists, or where files can be made"),
        (errno.EINVAL, "give the path of a file"),
    ],
)
def test_an_error_of_the_system_names_the_file_and_what_to_do(
    number: int, advice: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(raising(OSError(number, "Reason", "/out")), []) == 2
    assert capsys.readouterr().err == f"fer-test: /out: Reason; {advice}\n"


def test_an_error_of_the_system_may_have_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(OSError("the camera is gone")), []) == 2
    assert capsys.readouterr().err == "fer-test: the camera is gone\n"


@pytest.mark.parametrize("problem", [DataError("no"), OSError("no")])
def test_debug_shows_the_traceback(problem: Exception) -> None:
    with pytest.raises(type(problem)):
        run_command(raising(problem), ["--debug"])


def test_a_defect_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(raising(ZeroDivisionError()), [])


def test_an_interrupt_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(raising(KeyboardInterrupt()), []) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--unknown"], ["surplus"], ["--json"]])
def test_bad_usage_ends_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(command(lambda _: 0), arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize("sub", [False, True], ids=["a command", "a command of a command"])
def test_an_empty_path_is_not_the_current_folder(
    sub: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = command_parser("fer-test", "Test.", common=not sub)
    if sub:
        parser = add_command(parser.add_subparsers(), "look", "look at it", lambda _: 0)
    add_data_option(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(["--data", ""])
    assert "argument --data: expected a path, not an empty one" in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run_command(command(lambda _: 0), ["--version"])
    assert (caught.value.code, capsys.readouterr().out) == (0, f"fer-test {__version__}\n")


def test_a_command_of_a_command_has_the_common_options(tmp_path: Path) -> None:
    parser = command_parser("fer-test", "Test.", common=False)
    commands = parser.add_subparsers(required=True)
    seen: list[Namespace] = []
    add_command(commands, "look", "look at it", lambda options: len(seen.append(options) or ""))
    target = tmp_path / "x.json"
    assert run_command(parser, ["look", "--json", str(target), "--debug"]) == 0
    assert (seen[0].json, seen[0].debug) == (target, True)


def test_messages_leave_standard_output_to_results(capsys: pytest.CaptureFixture[str]) -> None:
    say("working")
    assert capsys.readouterr() == ("", "working\n")


# --- the JSON result


def writing(value: object) -> ArgumentParser:
    def handler(options: Namespace) -> int:
        write_result(options, value)
        return 0

    return command(handler)


def test_the_result_goes_to_the_file_that_was_named(tmp_path: Path) -> None:
    target = tmp_path / "out/x.json"
    assert run_command(writing({"schema": "x/1"}), ["--json", str(target)]) == 0
    assert json.loads(target.read_text()) == {"schema": "x/1"}


def test_no_file_is_written_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_command(writing({}), []) == 0
    assert os.listdir(tmp_path) == []


def test_an_older_result_survives_a_failure(tmp_path: Path) -> None:
    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(TypeError):
        run_command(writing(object()), ["--json", str(target)])
    assert (target.read_text(), os.listdir(tmp_path)) == ("old", ["x.json"])


def test_a_result_that_cannot_be_written_is_an_error_of_the_input(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(writing({}), ["--json", str(tmp_path)]) == 2
    told = f"fer-test: {tmp_path}: Is a directory; give the path of a file\n"
    assert capsys.readouterr().err == told


# --- what is written


def ran_with(*arguments: str) -> tuple[int, bool]:
    """The exit code of a command with an input and an output, and whether it did its work."""
    seen: list[Namespace] = []
    parser = command(lambda options: len(seen.append(options) or ""))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--out", type=Path, action=Output)
    return run_command(parser, arguments), bool(seen)


@pytest.mark.parametrize("flag", ["--out", "--json"])
@pytest.mark.parametrize("source", ["--data", "--model"])
@pytest.mark.parametrize("name", ["given", "folder/../given", "link"])
def test_an_output_is_never_the_file_of_an_input(
    tmp_path: Path, flag: str, source: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = tmp_path / "given"
    given.touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(given)
    out = str(tmp_path / name)
    assert ran_with(source, str(given), flag, out) == (2, False)
    told = f"fer-test: {flag} {out} is what this command reads; give another {flag}\n"
    assert capsys.readouterr().err == told


def test_an_output_is_never_the_folder_of_the_data(tmp_path: Path) -> None:
    assert ran_with("--data", str(tmp_path), "--out", str(tmp_path)) == (2, False)
    assert ran_with("--data", str(tmp_path), "--out", str(tmp_path / "run")) == (0, True)


def test_a_folder_may_be_called_as_a_preset_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mobilenet").mkdir()
    assert ran_with("--model", "mobilenet", "--out", "mobilenet") == (0, True)


def test_a_device_may_be_read_and_written_whatever_its_folder_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fer_edge.command.require_folder", pytest.fail)
    assert ran_with("--data", os.devnull, "--out", os.devnull) == (0, True)


@pytest.mark.parametrize("flag", ["--out", "--json"])
def test_an_output_below_a_file_is_told_before_the_work(
    tmp_path: Path, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert ran_with(flag, str(tmp_path / "file" / "deep" / "x.json")) == (2, False)
    assert f"{tmp_path / 'file' / 'deep'}: Not a directory; give" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="no /proc")
def test_an_output_where_no_folder_can_be_made_is_told_before_the_work() -> None:
    assert ran_with("--out", "/proc/no/x.json") == (2, False)


# --- as processes


def run_script(body: str) -> subprocess.Popen[str]:
    script = f"""
import sys
from fer_edge.command import command_parser, run_command
from fer_edge.system.files import write_json

def handler(options):
    {body}
    return 0

parser = command_parser("fer-test", "Test.")
parser.set_defaults(handler=handler)
sys.exit(run_command(parser, sys.argv[1:]))
"""
    environment = {**os.environ, "PYTHONUNBUFFERED": ""}
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


@pytest.mark.parametrize("lines", [1, 100_000], ids=["a line", "more than a buffer"])
def test_a_reader_that_has_seen_enough_is_no_error(lines: int) -> None:
    # the command writes once its reader is gone
    process = run_script(f"sys.stdin.read(); print('x\\n' * {lines})")
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    process.stdin.close()
    said = process.stderr.read()
    process.stderr.close()
    assert (process.wait(60), said) == (141, "")


def test_json_goes_to_standard_output_by_its_path() -> None:
    process = run_script("from pathlib import Path; write_json(Path('/dev/stdout'), {'a': 1})")
    out, said = process.communicate(timeout=60)
    assert (json.loads(out), said) == ({"a": 1}, "")
