"""What the report draws, as plain values: who follows whom, where tokens lie, who listens to whom, loss against rate.

Knows nothing of charts or pages; everything here can be written as JSON.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainer.ladder_data import LadderData
from trainer.lr_find import RangeTest
from trainer.models.language_model import LanguageModel
from trainer.models.lecture import LectureGPT

MOST_FREQUENT = 40
ON_THE_MAP = 200
ATTENDED = 48  # tokens of a line whose attention can still be read


def frequent(data: LadderData, most: int) -> list[int]:
    """The most frequent tokens of the training side, most frequent first."""
    counts = np.bincount(data.train.stream(), minlength=data.vocab_size)
    order = np.argsort(-counts, kind="stable")[:most]
    return [int(token) for token in order if counts[token]]


def followers(model: LanguageModel, data: LadderData) -> dict[str, Any]:
    """P(next | one token) among the most frequent tokens: a row for each, sorted as people would look them up."""
    tokens = sorted(frequent(data, MOST_FREQUENT), key=data.vocabulary.piece)
    rows = []
    for token in tokens:
        chances = np.exp(model.decoder([token], 1).log_probabilities()[0])
        rows.append([round(float(chances[other]), 5) for other in tokens])
    return {"labels": [label(data.vocabulary.piece(token)) for token in tokens], "chances": rows}


def embedding(weight: Tensor, data: LadderData) -> dict[str, Any]:
    """The most frequent tokens on the two directions in which their embeddings differ most (PCA), and how much of the
    variance these two show. A two-dimensional embedding is shown as it is."""
    tokens = frequent(data, ON_THE_MAP)
    points = weight.detach().float().cpu()[tokens]
    shown = 1.0
    if points.shape[1] > 2:
        centred = points - points.mean(0)
        _, strengths, directions = torch.linalg.svd(centred, full_matrices=False)
        shown = float((strengths[:2] ** 2).sum() / (strengths**2).sum())
        points = centred @ directions[:2].T
    return {
        "labels": [label(data.vocabulary.piece(token)) for token in tokens],
        "kinds": [kind(data.vocabulary.piece(token)) for token in tokens],
        "x": [round(float(x), 4) for x in points[:, 0]],
        "y": [round(float(y), 4) for y in points[:, 1]],
        "variance_shown": round(shown, 4),
        "dimensions": int(weight.shape[1]),
    }


def attention(network: LectureGPT, data: LadderData) -> dict[str, Any]:
    """One head's attention on one line of the validation side: of all heads the one that looks back most sharply
    past its own token."""
    size = min(network.block_size, ATTENDED)
    line = example(data, size)
    device = next(network.parameters()).device
    network.eval()
    layers = network.attention(torch.from_numpy(line)[None].to(device))
    heads = [(layer, head) for layer in range(len(layers)) for head in range(layers[layer].shape[1])]

    def sharpness(place: tuple[int, int]) -> float:
        weights = layers[place[0]][0, place[1]]
        return float((weights.tril(-1) ** 2).sum())

    layer, head = max(heads, key=sharpness)
    weights = layers[layer][0, head].cpu()
    return {
        "labels": [label(data.vocabulary.piece(int(token))) for token in line],
        "weights": [[round(float(weight), 4) for weight in row] for row in weights],
        "layer": layer + 1,
        "head": head + 1,
        "heads": len(heads),
    }


def example(data: LadderData, size: int) -> "np.ndarray[Any, np.dtype[np.int64]]":
    """A line of the validation side, of at most `size` tokens and as near to it as there is one."""
    if data.validation.lines is not None:
        lines = data.validation.lines
        lengths = np.diff(lines.starts)[:5000]
        chosen = int(np.argmax(np.where(lengths <= size, lengths, 0)))
        start = int(lines.starts[chosen])
        return lines.tokens[start : start + min(size, int(lengths[chosen]))]
    if data.independent:
        fitting = [document for document in data.validation.documents[:5000] if len(document) <= size]
        return max(fitting, key=len, default=data.validation.documents[0][:size])
    return data.validation.documents[0][:size]


def range_test(found: RangeTest) -> dict[str, Any]:
    return {
        "rates": [float(f"{rate:.5g}") for rate in found.rates],
        "losses": [round(loss, 5) for loss in found.losses],
        "smoothed": [round(loss, 5) for loss in found.smoothed],
        "lowest_at": found.lowest_at,
        "suggestion": found.suggestion,
    }


def kind(piece: str) -> str:
    """What sort of token a piece is, to colour a map by."""
    if len(piece) > 1 and piece.startswith("<") and piece.endswith(">"):
        return "speakers and ends"
    text = piece.strip()
    if not text or not any(character.isalnum() for character in text):
        return "spaces and signs"
    if text.isdigit():
        return "digits"
    if len(piece) > 1:
        return "starts of words" if piece.startswith(" ") else "other pieces"
    if text.isupper():
        return "capitals"
    return "vowels" if text in "aeiouy" else "consonants"


def label(piece: str) -> str:
    """A token that can be seen: spaces and line ends get a mark, the end of a line of chat too."""
    return "⏎" if piece == "<end>" else piece.replace("\n", "⏎").replace("\t", "⇥").replace(" ", "␣")
