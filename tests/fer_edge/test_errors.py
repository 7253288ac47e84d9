"""The tree of errors."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from fer_edge import errors
from fer_edge.errors import FerEdgeError, InputError, MissingDependencyError

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, errors.FerEdgeError)
]


def test_the_drawing_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+) +(\d)", inspect.getdoc(errors) or "")
    children = [kind for kind in KINDS if kind is not FerEdgeError]
    assert {name: int(code) for name, code in drawn} == {
        kind.__name__: kind.exit_code for kind in children
    }


def test_an_input_error_of_a_batch_names_the_position() -> None:
    error = InputError("it is empty", index=3)
    assert (str(error), error.index) == ("crop 3 of the batch: it is empty", 3)


def test_an_input_error_of_a_single_crop_has_no_position() -> None:
    error = InputError("it is empty")
    assert (str(error), error.index) == ("it is empty", None)


def test_a_missing_package_comes_with_the_command_that_installs_it() -> None:
    error = MissingDependencyError("onnx", "export")
    assert str(error) == "onnx is not installed. Install it with: pip install 'fer-edge[export]'"


def test_a_missing_package_of_the_core_needs_no_extra() -> None:
    assert str(MissingDependencyError("onnxruntime", "")).endswith("pip install fer-edge")


def test_a_missing_package_may_come_with_a_reason() -> None:
    assert "torch is not installed (for .safetensors)." in str(
        MissingDependencyError("torch", "torch", "for .safetensors")
    )


@pytest.mark.parametrize(
    "error", [InputError("bad", index=2), MissingDependencyError("onnx", "export", "why")]
)
def test_an_error_crosses_to_another_process_unchanged(error: FerEdgeError) -> None:
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
