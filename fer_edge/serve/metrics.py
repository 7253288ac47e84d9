"""Figures for Prometheus."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)


class Metrics:
    """What a server counts; each has figures of its own."""

    content_type: ClassVar[str] = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.pictures = Counter(
            "fer_edge_pictures", "Pictures answered", ["model", "source"], registry=self._registry
        )
        self.faces = Counter(
            "fer_edge_faces", "Faces found in them", ["model"], registry=self._registry
        )
        self.refused = Counter(
            "fer_edge_refused",
            "Pictures that could not be used",
            ["source"],
            registry=self._registry,
        )
        self.dropped = Counter(
            "fer_edge_dropped", "Frames passed over for a newer one", registry=self._registry
        )
        self.clients = Gauge(
            "fer_edge_clients", "WebSockets that are open", registry=self._registry
        )
        self._stages = Histogram(
            "fer_edge_stage_seconds",
            "Time of each stage of a picture",
            ["stage"],
            buckets=_BUCKETS,
            registry=self._registry,
        )

    def picture(self, model: str, source: str, faces: int, timings_ms: Mapping[str, float]) -> None:
        """Count one picture that was answered."""
        self.pictures.labels(model, source).inc()
        self.faces.labels(model).inc(faces)
        for stage, milliseconds in timings_ms.items():
            self._stages.labels(stage).observe(milliseconds / 1e3)

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)
