"""The contract of every artifact, which is checked when a backend opens one.

The input is ``crop``, uint8 ``(N, H, W, C)``. The outputs are ``logits`` and ``probabilities``,
float32, one row for each crop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import InputSpec, ModelSpec
from fer_edge.backends.base import Crops
from fer_edge.errors import ArtifactError, ConfigurationError

INPUT = "crop"
OUTPUTS = ("logits", "probabilities")


@dataclass(frozen=True)
class Port:
    """An input or output of a graph, with NumPy's name of its type.

    ``shape`` begins with the batch. A dimension that is not fixed is a name or None.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...]

    def __str__(self) -> str:
        batch = self.shape[0] if self.shape and isinstance(self.shape[0], int) else "N"
        dimensions = [batch, *self.shape[1:]] if self.shape else []
        return f"{self.name} {self.dtype} ({', '.join(map(str, dimensions))})"


def contract_spec(
    text: str | None, artifact: Artifact, inputs: Sequence[Port], outputs: Sequence[Port]
) -> ModelSpec:
    """Read the spec that an artifact carries, and compare the graph with it.

    ``text`` is the JSON in its metadata. If there is none, the caller's spec is taken. Raises
    ArtifactError if there is no valid spec, or if the graph does not keep the contract, and
    ConfigurationError if the caller's spec differs from the artifact's own.
    """
    if text is not None:
        spec = ModelSpec.from_json(text, where=f"the spec in {artifact.path}")
        refuse_another_spec(artifact, spec)
    elif artifact.spec is not None:
        spec = artifact.spec
    else:
        fields = ", ".join(field.name for field in dataclasses.fields(InputSpec))
        raise ArtifactError(
            f"{artifact.path} carries no model spec, which would say its network, its input "
            f"({fields}), its precision, temperature and labels. Export the model with fer-export, "
            "which adds the spec, or give Predictor(spec=ModelSpec(…))"
        )
    _check_ports(spec, artifact, inputs, outputs)
    return spec


def refuse_another_spec(artifact: Artifact, own: ModelSpec) -> None:
    """Raise ConfigurationError if the caller's spec differs from the one in the artifact."""
    if artifact.spec is not None and artifact.spec != own:
        raise ConfigurationError(
            f"{artifact.path} carries a spec of its own, which differs from the given one; leave "
            "spec out"
        )


def static_batch(ports: Sequence[Port]) -> int | None:
    """The number of crops that a graph is fixed to, or None if it takes any number."""
    fixed = [port.shape[0] for port in ports if port.shape and isinstance(port.shape[0], int)]
    return fixed[0] if fixed else None


def padded(batch: Crops, size: int | None) -> Crops:
    """Fill a batch with zeros up to ``size``, if any."""
    if size is None or len(batch) == size:
        return batch
    filled = np.zeros((size, *batch.shape[1:]), batch.dtype)
    filled[: len(batch)] = batch
    return filled


def _check_ports(
    spec: ModelSpec, artifact: Artifact, inputs: Sequence[Port], outputs: Sequence[Port]
) -> None:
    rows = [port.shape[0] if port.shape else None for port in (*inputs, *outputs)]
    one_batch = len({row for row in rows if isinstance(row, int)}) <= 1
    expected_in = [Port(INPUT, "uint8", ("N", *spec.input.shape))]
    expected_out = [Port(name, "float32", ("N", len(spec.labels))) for name in OUTPUTS]
    fits = _facts(inputs) == _facts(expected_in) and _facts(outputs) == _facts(expected_out)
    if one_batch and fits:
        return
    whose = "its own spec" if artifact.spec is None else "the spec that was given"
    raise ArtifactError(
        f"{artifact.path} does not fit {whose}: it maps {_listed(inputs)} to {_listed(outputs)}, "
        f"expected {_listed(expected_in)} to {_listed(expected_out)}"
    )


def _facts(ports: Sequence[Port]) -> list[tuple[str, str, int, str]]:
    """Names, types and shapes, the batch apart; the order does not matter."""
    return sorted((p.name, p.dtype, len(p.shape), str(p.shape[1:])) for p in ports)


def _listed(ports: Sequence[Port]) -> str:
    return ", ".join(map(str, ports)) or "nothing"
