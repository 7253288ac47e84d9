"""A face crop goes in, an emotion comes out, on whatever the device has.

>>> from fer_edge import Predictor
>>> with Predictor() as fer:
...     print(fer.predict("face.jpg"))
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

if _TYPE_CHECKING:
    from fer_edge.analyzer import FaceAnalyzer
    from fer_edge.artifacts.spec import InputSpec, ModelSpec
    from fer_edge.backends.base import Backend, BackendOptions
    from fer_edge.emotion import LABELS, Emotion
    from fer_edge.errors import (
        ArtifactError,
        ClosedError,
        ConfigurationError,
        DownloadError,
        EngineError,
        FerEdgeError,
        InputError,
        MissingDependencyError,
    )
    from fer_edge.faces.detection import AnalyzedFace, Face, FaceDetector, cut_face
    from fer_edge.images.annotation import annotate
    from fer_edge.images.reading import read_image
    from fer_edge.live.tracking import TrackedFace, TrackedFrame
    from fer_edge.prediction import Prediction
    from fer_edge.predictor import Predictor, PredictorInfo
    from fer_edge.smoothing import EmotionSmoother, SmoothedPrediction

    __version__: str

__all__ = [
    "LABELS",
    "AnalyzedFace",
    "ArtifactError",
    "Backend",
    "BackendOptions",
    "ClosedError",
    "ConfigurationError",
    "DownloadError",
    "Emotion",
    "EmotionSmoother",
    "EngineError",
    "Face",
    "FaceAnalyzer",
    "FaceDetector",
    "FerEdgeError",
    "InputError",
    "InputSpec",
    "MissingDependencyError",
    "ModelSpec",
    "Prediction",
    "Predictor",
    "PredictorInfo",
    "SmoothedPrediction",
    "TrackedFace",
    "TrackedFrame",
    "__version__",
    "annotate",
    "cut_face",
    "read_image",
]

# a command that tells why OpenCV or an engine does not load must itself load without them
_MODULES = {
    "analyzer": ("FaceAnalyzer",),
    "emotion": ("LABELS", "Emotion"),
    "errors": (
        "ArtifactError",
        "ClosedError",
        "ConfigurationError",
        "DownloadError",
        "EngineError",
        "FerEdgeError",
        "InputError",
        "MissingDependencyError",
    ),
    "faces.detection": ("AnalyzedFace", "Face", "FaceDetector", "cut_face"),
    "images.annotation": ("annotate",),
    "images.reading": ("read_image",),
    "live.tracking": ("TrackedFace", "TrackedFrame"),
    "prediction": ("Prediction",),
    "predictor": ("Predictor", "PredictorInfo"),
    "smoothing": ("EmotionSmoother", "SmoothedPrediction"),
    "artifacts.spec": ("InputSpec", "ModelSpec"),
    "backends.base": ("Backend", "BackendOptions"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


if not _TYPE_CHECKING:  # a checker would take any name for a public one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name in _HOMES:
            from importlib import import_module

            value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        elif name == "__version__":
            value = _version()
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("fer-edge")
    except metadata.PackageNotFoundError:  # a source tree that is not installed
        return "0+unknown"
