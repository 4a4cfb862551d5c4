"""A small classifier in NumPy: trained for real, int8 weights per output channel, stored as safetensors.

Inputs are noisy points around a few prototypes per class. Version 1 is trained on some prototypes of each class,
version 2 is fine-tuned on all of them. Fine-tuning keeps the quantization scales, so most int8 codes do not change and
the patch stays small.
"""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int8]

INPUTS, HIDDEN, CLASSES = 256, (2048, 1536), 16
PROTOTYPES, SEEN_BY_V1 = 4, 3
NOISE = 0.9
BATCH = 64
TRAIN_STEPS, TRAIN_RATE = 40, 0.1
TUNE_STEPS, TUNE_RATE = 40, 0.04


@dataclass(frozen=True, slots=True)
class Task:
    """A classification task.

    Attributes:
        prototypes: shape (CLASSES, PROTOTYPES, INPUTS).
    """

    prototypes: Floats

    @classmethod
    def generate(cls, seed: int) -> "Task":
        """Create a task; the same seed gives the same one."""
        rng = np.random.default_rng(seed)
        return cls(rng.normal(0, 0.35, (CLASSES, PROTOTYPES, INPUTS)).astype(np.float32))

    def sample(
        self, count: int, prototypes: int, rng: np.random.Generator
    ) -> tuple[Floats, npt.NDArray[np.int64]]:
        """Draw `count` points around the first `prototypes` prototypes of each class; return points and classes."""
        labels = rng.integers(0, CLASSES, count)
        centers = self.prototypes[labels, rng.integers(0, prototypes, count)]
        return centers + rng.normal(0, NOISE * 0.35, centers.shape).astype(np.float32), labels


@dataclass(frozen=True, slots=True)
class Classifier:
    """A multilayer perceptron with quantized weights.

    Attributes:
        layers: (codes, scale, bias) with shapes (inputs, outputs) int8, (outputs,) float32, (outputs,) float32.
    """

    layers: tuple[tuple[Codes, Floats, Floats], ...]

    def predict(self, inputs: Floats) -> npt.NDArray[np.int64]:
        """The most likely class of each row of `inputs`, shape (rows, INPUTS)."""
        values = inputs
        for index, (codes, scale, bias) in enumerate(self.layers):
            values = values @ codes.astype(np.float32) * scale + bias
            if index < len(self.layers) - 1:
                values = np.maximum(values, 0)
        best: npt.NDArray[np.int64] = values.argmax(axis=1)
        return best

    def accuracy(self, task: Task, seed: int, count: int = 256) -> float:
        """Share of correct predictions on `count` new points from all prototypes."""
        inputs, labels = task.sample(count, PROTOTYPES, np.random.default_rng(seed))
        return float((self.predict(inputs) == labels).mean())

    def save(self, path: Path) -> None:
        """Write a safetensors file."""
        tensors: dict[str, tuple[str, npt.NDArray[np.int8 | np.float32]]] = {}
        for index, (codes, scale, bias) in enumerate(self.layers):
            tensors[f"layers.{index}.weight"] = ("I8", codes)
            tensors[f"layers.{index}.scale"] = ("F32", scale)
            tensors[f"layers.{index}.bias"] = ("F32", bias)
        path.write_bytes(_safetensors(tensors))

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Map a file that `save` wrote, without copying it."""
        mapped = np.memmap(path, np.uint8, "r")
        length = int(mapped[:8].view("<u8")[0])
        header = json.loads(bytes(mapped[8 : 8 + length]))
        body = mapped[8 + length :]

        def tensor(name: str, kind: type[np.int8] | type[np.float32]) -> npt.NDArray[np.int8 | np.float32]:
            begin, end = header[name]["data_offsets"]
            return body[begin:end].view(kind).reshape(header[name]["shape"])

        count = len(header) // 3
        return cls(
            tuple(
                (
                    tensor(f"layers.{index}.weight", np.int8).astype(np.int8, copy=False),
                    tensor(f"layers.{index}.scale", np.float32).astype(np.float32, copy=False),
                    tensor(f"layers.{index}.bias", np.float32).astype(np.float32, copy=False),
                )
                for index in range(count)
            )
        )


def train_v1(task: Task, seed: int) -> Classifier:
    """Train version 1 from scratch, on the first `SEEN_BY_V1` prototypes of each class."""
    rng = np.random.default_rng(seed)
    sizes = (INPUTS, *HIDDEN, CLASSES)
    weights = [
        rng.normal(0, np.sqrt(2 / rows), (rows, columns)).astype(np.float32)
        for rows, columns in pairwise(sizes)
    ]
    biases = [np.zeros(columns, np.float32) for columns in sizes[1:]]
    _train(weights, biases, (TRAIN_STEPS, TRAIN_RATE), lambda: task.sample(BATCH, SEEN_BY_V1, rng))
    scales = [np.maximum(np.abs(weight).max(axis=0), 1e-8) / 127 for weight in weights]
    return _quantize(weights, scales, biases)


def fine_tune(v1: Classifier, task: Task, seed: int) -> Classifier:
    """Train version 2: further steps on all prototypes, with the quantization scales of version 1."""
    weights = [codes.astype(np.float32) * scale for codes, scale, _ in v1.layers]
    biases = [bias.copy() for _, _, bias in v1.layers]
    rng = np.random.default_rng(seed)
    _train(weights, biases, (TUNE_STEPS, TUNE_RATE), lambda: task.sample(BATCH, PROTOTYPES, rng))
    return _quantize(weights, [scale for _, scale, _ in v1.layers], biases)


def _train(
    weights: list[Floats],
    biases: list[Floats],
    schedule: tuple[int, float],
    batch: Callable[[], tuple[Floats, npt.NDArray[np.int64]]],
) -> None:
    """Stochastic gradient descent on the cross-entropy; updates `weights` and `biases` in place.

    Args:
        weights: one array per layer.
        biases: one array per layer.
        schedule: number of steps, and learning rate.
        batch: draws a batch of inputs and classes.
    """
    steps, rate = schedule
    for _ in range(steps):
        inputs, labels = batch()
        activations = [inputs]
        for index, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = activations[-1] @ weight + bias
            activations.append(np.maximum(values, 0) if index < len(weights) - 1 else values)
        gradient = _logits_gradient(activations[-1], labels)
        for index in reversed(range(len(weights))):
            inputs_of_layer = activations[index]
            previous_gradient = gradient @ weights[index].T * (inputs_of_layer > 0)
            weights[index] -= rate * (inputs_of_layer.T @ gradient)
            biases[index] -= rate * gradient.sum(axis=0)
            gradient = previous_gradient


def _logits_gradient(logits: Floats, labels: npt.NDArray[np.int64]) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    probabilities[np.arange(len(labels)), labels] -= 1
    mean: Floats = (probabilities / len(labels)).astype(np.float32)
    return mean


def _quantize(weights: list[Floats], scales: list[Floats], biases: list[Floats]) -> Classifier:
    return Classifier(
        tuple(
            (np.clip(np.rint(weight / scale), -127, 127).astype(np.int8), scale.astype(np.float32), bias)
            for weight, scale, bias in zip(weights, scales, biases, strict=True)
        )
    )


def _safetensors(tensors: dict[str, tuple[str, npt.NDArray[np.int8 | np.float32]]]) -> bytes:
    header, blobs, offset = {}, [], 0
    for name, (dtype, array) in tensors.items():
        blob = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": dtype,
            "shape": list(array.shape),
            "data_offsets": [offset, offset + len(blob)],
        }
        blobs.append(blob)
        offset += len(blob)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(blobs)
