"""A network as an ONNX graph, of any batch and size where the network allows that."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

STEP = 16  # U-Net and V-Net halve an image four times
SIZES = (32, 48, 64)  # three that differ, so that no two axes are taken for one
CLOSE = 1e-4  # of the largest logit


class Graph(NamedTuple):
    """An exported network.

    Attributes:
        model: The onnx.ModelProto; its input is called image, its output logits.
        any_batch: Whether an input may hold any number of images.
        any_size: Whether an image may have any size in multiples of 16.
    """

    model: Any
    any_batch: bool
    any_size: bool


def onnx_graph(network: nn.Module, image_size: Sequence[int]) -> Graph:
    """Export a network, as freely as it allows: any batch and size, any batch, or one fixed input.

    Each attempt is run and compared with torch before it is believed.

    Args:
        network: Images (B, 1, *spatial) to logits (B, C, *spatial); on the CPU, in evaluation mode.
        image_size: Size that it was trained at.
    Returns:
        The graph.
    Raises:
        ValueError: it cannot be exported in any way; the message says what torch said.
    """
    dim, rank, size = torch.export.Dim, len(image_size), tuple(image_size)
    batch = {0: dim("batch")}
    sides = {2 + axis: STEP * dim(f"size{axis}") for axis in range(rank)}
    attempts = [
        (True, True, (2, 1, *SIZES[:rank]), {**batch, **sides}, [(1, 1, *SIZES[1 : rank + 1])]),
        (True, False, (2, 1, *size), batch, [(1, 1, *size), (3, 1, *size)]),
        (False, False, (1, 1, *size), None, []),
    ]
    if rank == 3:  # three sizes, turned round
        attempts[0][4][0] = (1, 1, *reversed(SIZES))
    said = ""
    for any_batch, any_size, shape, free, others in attempts:
        with torch.random.fork_rng(), _quiet():
            try:
                image = torch.randn(shape)
                model = _exported(network, image, free)
                if all(_is_same(network, model, torch.randn(s)) for s in [shape, *others]):
                    return Graph(model, any_batch, any_size)
                said = "onnxruntime computes other logits than torch"
            except Exception as error:  # torch.export raises whatever tracing runs into
                said = " ".join(f"{type(error).__name__}: {error}".split())
    name = type(network).__name__
    raise ValueError(f"network {name} must be one that torch can export to ONNX, got {said:.300}")


class OnnxNetwork(nn.Module):
    """A graph that runs in onnxruntime where a network of torch is expected.

    Args:
        content: The bytes of an ONNX file with one input and one output.
    """

    def __init__(self, content: bytes) -> None:
        import onnxruntime

        super().__init__()
        self.place = nn.Parameter(torch.zeros(()))  # says on which device images are wanted
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        self.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"]
        )
        self.input = self.session.get_inputs()[0]

    def forward(self, image: Tensor) -> Tensor:
        """Logits of images, one at a time if the graph holds one."""
        fixed = isinstance(self.input.shape[0], int)
        parts = image.split(self.input.shape[0] if fixed else len(image))
        feeds = [{self.input.name: np.ascontiguousarray(part.numpy())} for part in parts]
        return torch.cat([torch.from_numpy(self.session.run(None, feed)[0]) for feed in feeds])


def _exported(network: nn.Module, image: Tensor, free: dict[int, Any] | None) -> Any:
    program = torch.onnx.export(
        network,
        (image,),
        dynamo=True,
        dynamic_shapes=None if free is None else (free,),
        input_names=["image"],
        output_names=["logits"],
        verbose=False,
    )
    return program.model_proto


@torch.no_grad()
def _is_same(network: nn.Module, model: Any, image: Tensor) -> bool:
    """Whether both give the same logits, but for rounding."""
    ours, theirs = network(image), OnnxNetwork(model.SerializeToString())(image)
    limit = CLOSE * max(1.0, float(ours.abs().max()))
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) <= limit


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter tells at length what it tries, and which extras it misses."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
