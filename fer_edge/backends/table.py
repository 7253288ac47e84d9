"""Which backends there are: data, so that a new one is a row and a module."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from fer_edge.artifacts.artifact import OPENED_BY
from fer_edge.system.dependencies import EXTRAS

__all__ = ["AUTO_ORDER", "BACKENDS", "BackendEntry"]


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend lives and what it takes.

    ``package`` is the import that tells whether its engine is there, ``extra`` what installs it,
    ``formats`` the artifacts that it opens, its own first. ``devices`` are the kinds that may be
    asked of it, ``auto`` apart. ``distributions`` lists the names under which the engine is
    installed, ``source`` where it comes from if not from the extra.
    """

    module: str
    class_name: str
    package: str
    extra: str
    formats: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    distributions: tuple[str, ...] = ()
    source: str | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """Everything that the backend imports and the core does not bring."""
        return tuple(dict.fromkeys((self.package, *EXTRAS.get(self.extra, ()))))

    def missing(self) -> str | None:
        """The first package that is not installed, found without importing any."""
        return next((p for p in self.packages if importlib.util.find_spec(p) is None), None)

    def takes_device(self, device: str) -> bool:
        """Whether ``device`` (``cuda:1``, ``gpu.0``) is of a kind that it knows."""
        kind = device.partition(":")[0].partition(".")[0]
        # AUTO, in capitals, is a device of OpenVINO's
        return device == "auto" or kind in self.devices or kind.lower() in self.devices

    def version(self) -> str:
        """The installed engine's version, read without importing it."""
        from importlib import metadata  # seldom needed, and slow to import

        for name in self.distributions or (self.package,):
            try:
                return f"{name} {metadata.version(name)}"
            except metadata.PackageNotFoundError:
                continue
        return "unknown"


BACKENDS: dict[str, BackendEntry] = {
    "onnxruntime": BackendEntry(
        "fer_edge.backends.onnxruntime",
        "OnnxRuntimeBackend",
        "onnxruntime",
        "",
        OPENED_BY["onnxruntime"],
        ("cpu", "cuda", "tensorrt"),
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    ),
    "openvino": BackendEntry(
        "fer_edge.backends.openvino",
        "OpenVinoBackend",
        "openvino",
        "openvino",
        OPENED_BY["openvino"],
        ("cpu", "gpu", "npu", "AUTO"),
    ),
    "tensorrt": BackendEntry(
        "fer_edge.backends.tensorrt",
        "TensorRtBackend",
        "tensorrt",
        "tensorrt",
        OPENED_BY["tensorrt"],
        ("cuda",),
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        "TensorRT itself comes with JetPack, or from NVIDIA: pip install tensorrt",
    ),
    "torch": BackendEntry(
        "fer_edge.backends.torch",
        "TorchBackend",
        "torch",
        "torch",
        OPENED_BY["torch"],
        ("cpu", "cuda"),
    ),
}

AUTO_ORDER = ("tensorrt", "openvino", "onnxruntime", "torch")
"""What ``backend="auto"`` prefers, unless ``fer-edge doctor --tune`` has measured.

The first that is installed, knows the device, and has an artifact in its own format: an engine
built for this GPU, an IR (which OpenVINO runs faster than ONNX Runtime its ONNX, on x86), an ONNX,
a checkpoint. Only where none has, one that opens another's format.
"""
