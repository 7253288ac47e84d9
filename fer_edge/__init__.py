"""A face crop goes in, an emotion comes out, on whatever the device has.

>>> from fer_edge import Predictor
>>> with Predictor() as fer:
...     print(fer.predict("face.jpg"))
"""

from importlib import metadata as _metadata

try:
    __version__ = _metadata.version("fer-edge")
except _metadata.PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

from fer_edge.emotion import LABELS, Emotion
from fer_edge.errors import (
    ArtifactError,
    ClosedError,
    ConfigurationError,
    DataError,
    DownloadError,
    EngineError,
    FerEdgeError,
    GateError,
    InputError,
    MissingDependencyError,
)
from fer_edge.faces.detection import Face, FaceDetector, cut_face
from fer_edge.images.reading import read_image
from fer_edge.prediction import Prediction
from fer_edge.predictor import Predictor, PredictorInfo
from fer_edge.spec import InputSpec, ModelSpec, NetworkSpec, Provenance

__all__ = [
    "LABELS",
    "ArtifactError",
    "ClosedError",
    "ConfigurationError",
    "DataError",
    "DownloadError",
    "Emotion",
    "EngineError",
    "Face",
    "FaceDetector",
    "FerEdgeError",
    "GateError",
    "InputError",
    "InputSpec",
    "MissingDependencyError",
    "ModelSpec",
    "NetworkSpec",
    "Prediction",
    "Predictor",
    "PredictorInfo",
    "Provenance",
    "__version__",
    "cut_face",
    "read_image",
]
