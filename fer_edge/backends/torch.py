"""torch: a checkpoint, its network rebuilt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import nn

from fer_edge.artifacts.artifact import Artifact
from fer_edge.artifacts.spec import ModelSpec
from fer_edge.backends.base import Answers, Backend, BackendOptions, Crops, EngineInfo, one_line
from fer_edge.backends.contract import refuse_another_spec
from fer_edge.backends.pool import Pool
from fer_edge.errors import ClosedError, ConfigurationError, EngineError
from fer_edge.torch_model import checkpoint
from fer_edge.torch_model.network import Normalized, without_tf32

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_LANES = {"latency": 1, "throughput": 2}
_MOST_GRAPHS = 16
_WARM_UP = 3
_CLOSED = "this torch network is closed"

Forward = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


class TorchBackend(Backend):
    """The network of a checkpoint, in inference mode.

    Devices are ``cpu`` and ``cuda``; ``cuda:1`` is the second GPU and ``auto`` is the CPU. It
    computes in fp32, without TF32, unless ``inference_precision`` asks for less; normalisation and
    softmax stay in fp32. On a GPU, a CUDA graph is captured for each batch size. On the CPU, all
    threads share the network. ``compiled`` compiles it with ``torch.compile``.

    torch has one number of threads for the whole process. If ``threads`` is given, torch's number
    is set to it before each call and stays so; otherwise it is not touched. With
    ``goal="throughput"``, a call on the CPU uses one thread, and ``threads`` calls run at once.
    """

    def __init__(self, artifact: Artifact, options: BackendOptions) -> None:
        options.refuse("torch", "spinning")
        device = _device(options)
        network, self.spec = checkpoint.load_bytes(artifact.data, artifact.path)
        refuse_another_spec(artifact, self.spec)
        precision = options.inference_precision or "fp32"
        try:
            whole = _Contract(network, self.spec, _DTYPES[precision]).to(device)
        except RuntimeError as problem:  # out of memory is such an error
            raise EngineError(
                f"torch cannot put {artifact.path} on {device}: {one_line(problem)}"
            ) from problem
        forward: Forward = torch.compile(whole, dynamic=True) if options.compiled else whole
        self._threads, concurrency = options.threads, 1  # None is torch's own number
        if device.type == "cpu" and options.goal == "throughput":
            self._threads, concurrency = 1, options.cpu_threads()
        self._forward: Forward | None = None
        self._lanes: Pool[_Lane] | None = None
        if device.type == "cuda":
            provider = f"{device} ({torch.cuda.get_device_name(device)})"
            concurrency = _LANES[options.goal]
            self._lanes = Pool(partial(_Lane, forward, device), concurrency, _CLOSED)
        else:
            provider = "cpu"
            self._forward = forward
        self.engine = EngineInfo(
            name="torch",
            version=str(torch.__version__),
            provider=provider,
            inference_precision=precision,
            threads=self._threads or (torch.get_num_threads() if device.type == "cpu" else None),
            concurrency=concurrency,
        )
        if options.compiled:  # a missing compiler is found here, not at the first crop
            self.infer(np.zeros((1, *self.spec.input.shape), np.uint8))

    def infer(self, batch: Crops) -> Answers:
        """Run one batch."""
        if self._threads is not None and torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        # torch warns about read-only arrays
        pixels = torch.from_numpy(batch if batch.flags.writeable else batch.copy())
        try:
            if self._lanes is not None:
                with self._lanes.borrow() as lane:
                    return lane.infer(pixels)
            if (forward := self._forward) is None:
                raise ClosedError(_CLOSED)
            with torch.inference_mode():
                logits, probabilities = forward(pixels)
            return logits.numpy(), probabilities.numpy()
        except RuntimeError as problem:  # out of memory and a missing compiler are such errors
            raise EngineError(
                f"torch failed on crops of shape {batch.shape}: {one_line(problem)}"
            ) from problem

    def close(self) -> None:
        """Drop the network and its graphs. Calls that are under way finish first."""
        self._forward = None
        if self._lanes is not None:
            self._lanes.close()


class _Contract(nn.Module):
    """The network with the inputs and outputs that the graph of any other artifact has."""

    def __init__(self, network: nn.Module, spec: ModelSpec, dtype: torch.dtype) -> None:
        super().__init__()
        core = nn.Sequential(_To(dtype), network.to(dtype))
        self.normalized = Normalized(core, spec)
        self.temperature = spec.temperature

    def forward(self, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Map uint8 ``(N, H, W, C)`` to float32 ``(N, 7)``, twice."""
        logits = self.normalized(batch.permute(0, 3, 1, 2)).float()
        return logits, torch.softmax(logits / self.temperature, dim=1)


class _To(nn.Module):
    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return values.to(self.dtype)


class _Lane:
    """A CUDA stream with a graph for each batch size; the 16 that were used last are kept.

    A graph reads and writes fixed memory, so only one call may use it at a time (torch's notes on
    CUDA graphs).
    """

    _capturing = threading.Lock()

    def __init__(self, forward: Forward, device: torch.device) -> None:
        self._forward, self._device = forward, device
        self._stream = torch.cuda.Stream(device)
        self._graphs: OrderedDict[int, tuple[torch.cuda.CUDAGraph, list[torch.Tensor]]] = (
            OrderedDict()
        )

    def infer(self, pixels: torch.Tensor) -> Answers:
        count = len(pixels)
        with torch.inference_mode(), torch.cuda.device(self._device):
            if count not in self._graphs:
                self._graphs[count] = self._captured(pixels)
                if len(self._graphs) > _MOST_GRAPHS:
                    self._graphs.popitem(last=False)
            self._graphs.move_to_end(count)
            graph, (given, logits, probabilities) = self._graphs[count]
            with torch.cuda.stream(self._stream):
                given.copy_(pixels)
                graph.replay()
                # a copy to the host waits for the stream
                return logits.cpu().numpy(), probabilities.cpu().numpy()

    def close(self) -> None:
        self._graphs.clear()

    def _captured(self, pixels: torch.Tensor) -> tuple[torch.cuda.CUDAGraph, list[torch.Tensor]]:
        # TF32 is a setting of the process, and a captured graph keeps it
        with self._capturing, without_tf32():
            with torch.cuda.stream(self._stream):
                given = pixels.to(self._device)
                for _ in range(_WARM_UP):
                    self._forward(given)
            self._stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            # the strictest mode would forbid other threads to allocate meanwhile
            with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
                logits, probabilities = self._forward(given)
        return graph, [given, logits, probabilities]


def _device(options: BackendOptions) -> torch.device:
    kind, index = options.kind_and_number("torch", "cpu", "cuda")
    if kind == "cpu":
        return torch.device("cpu")
    if options.threads is not None:
        raise ConfigurationError("torch takes threads on the CPU, not on a GPU")
    if torch.version.cuda is None:
        raise EngineError(
            f"torch {torch.__version__} was built without CUDA; install the CUDA build of torch "
            "and torchvision, or use device='cpu'"
        )
    if index >= (there := torch.cuda.device_count()):
        raise EngineError(
            f"torch sees {there} GPUs, counted from 0, and cuda:{index} was asked for; use "
            "another, or device='cpu'"
        )
    return torch.device("cuda", index)
