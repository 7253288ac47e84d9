"""Which backends there are. It is data: a new backend is a row here and a module."""

from __future__ import annotations

from dataclasses import dataclass

from fer_edge.artifacts.artifact import OPENED_BY
from fer_edge.errors import MissingDependencyError
from fer_edge.system.dependencies import EXTRAS, missing_packages


@dataclass(frozen=True)
class BackendEntry:
    """Where a backend's class is, and what it needs and accepts.

    ``package`` is the import name of its engine, ``extra`` what installs it, and ``formats`` the
    artifacts that it opens, its own first. ``devices`` are the kinds that it accepts besides
    ``auto``. ``distributions`` are the names under which the engine may be installed, and
    ``advice`` says how to get it if the extra does not bring it.
    """

    module: str
    class_name: str
    package: str
    extra: str
    formats: tuple[str, ...]
    devices: tuple[str, ...] = ("cpu",)
    distributions: tuple[str, ...] = ()
    advice: str | None = None

    @property
    def packages(self) -> tuple[str, ...]:
        """All that the backend imports beyond the dependencies of fer-edge itself."""
        return tuple(dict.fromkeys((self.package, *EXTRAS.get(self.extra, ()))))

    def missing(self) -> str | None:
        """The first package that is not installed, or None; none is imported to find out."""
        return next(iter(missing_packages(self.packages)), None)

    def absence(self, package: str, reason: str | None = None) -> MissingDependencyError:
        """The error that says how to get the engine, or another of ``packages``."""
        advice = None if package in EXTRAS.get(self.extra, ()) else self.advice
        return MissingDependencyError(package, self.extra, reason, advice)

    def takes_device(self, device: str) -> bool:
        """Whether ``device``, such as ``cuda:1`` or ``gpu.0``, is of a kind that it accepts."""
        kind = device.partition(":")[0].partition(".")[0]
        return device == "auto" or kind.lower() in self.devices

    def version(self) -> str:
        """The installed engine's version, read without importing it."""
        from importlib import metadata  # slow to import, and rarely needed

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
        ("cpu", "cuda", "tensorrt", "tensorrt-rtx"),
        ("onnxruntime", "onnxruntime-gpu", "onnxruntime-openvino"),
    ),
    "openvino": BackendEntry(
        "fer_edge.backends.openvino",
        "OpenVinoBackend",
        "openvino",
        "openvino",
        OPENED_BY["openvino"],
        ("cpu", "gpu", "npu"),
    ),
    "tensorrt": BackendEntry(
        "fer_edge.backends.tensorrt",
        "TensorRtBackend",
        "tensorrt",
        "tensorrt",
        OPENED_BY["tensorrt"],
        ("cuda",),
        ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
        "On a Jetson, JetPack 6.1 or later has it, and a virtual environment sees it if it was "
        "made with --system-site-packages; elsewhere: pip install tensorrt. It also needs "
        "cuda-python: pip install 'fer-edge[tensorrt]'",
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

It takes the first that is installed, accepts the device, and has an artifact in its own format: an
engine built for this GPU, then an IR (on x86, OpenVINO runs it faster than ONNX Runtime runs an
ONNX), then an ONNX, then a checkpoint. If there is no such backend, it takes the first that opens
the format of another.
"""
