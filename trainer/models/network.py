"""Any small network that reads a window of tokens, as a `LanguageModel`: the neural bigram, the MLP, the lecture GPT.

Knows nothing of what is inside the network, nor of training.
"""

from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.models.language_model import LogProbabilities, Tokens

SCORED_AT_ONCE = 8192  # tokens in one forward pass: bounds the memory that logits of a large vocabulary take


class Network(Protocol):
    """What the rungs' networks have in common."""

    vocab_size: int
    block_size: int  # the longest window it reads
    lead: int  # how many first tokens of a window are there to be looked at only

    def __call__(self, tokens: Tensor) -> Tensor: ...


class NetworkModel:
    """Scores a text window by window, as the lectures measure their loss; continues it with a sliding window.

    Where a window is cut inside a text, its first token is predicted from one token only (or from `lead` more, for
    networks that look back a fixed distance, whose score is exact). Before a text stands `start_token`.
    """

    def __init__(self, network: nn.Module, start_token: int) -> None:
        self.module = network
        self.network = cast(Network, network)
        self.start_token = start_token

    @property
    def vocab_size(self) -> int:
        return self.network.vocab_size

    @property
    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.module.parameters())

    @property
    def device(self) -> torch.device:
        return next(self.module.parameters()).device

    @torch.inference_mode()
    def score(self, tokens: Tokens) -> LogProbabilities:
        if len(tokens) == 0:
            return np.empty(0, dtype=np.float32)
        return self.score_documents([tokens])[0]

    @torch.inference_mode()
    def score_documents(self, documents: Sequence[Tokens]) -> list[LogProbabilities]:
        """`score` of each, with windows of many short documents sharing a forward pass."""
        self.module.eval()
        scores = [np.empty(len(tokens), dtype=np.float32) for tokens in documents]
        windows = sorted(self._windows(documents), key=lambda window: window[2] - window[1])
        at_once = max(1, SCORED_AT_ONCE // self.network.block_size)
        for start in range(0, len(windows), at_once):
            self._score_windows(documents, windows[start : start + at_once], scores)
        return scores

    def _windows(self, documents: Sequence[Tokens]) -> list[tuple[int, int, int, int]]:
        """(document, first input, end, first scored), in tokens; input t is the token before the t-th."""
        step = self.network.block_size - self.network.lead
        found = []
        for number, tokens in enumerate(documents):
            for scored in range(0, len(tokens), step):
                first = max(0, scored - self.network.lead)
                found.append((number, first, min(scored + step, len(tokens)), scored))
        return found

    def _score_windows(
        self, documents: Sequence[Tokens], windows: list[tuple[int, int, int, int]], scores: list[LogProbabilities]
    ) -> None:
        longest = max(end - first for _, first, end, _ in windows)
        inputs = np.full((len(windows), longest), self.start_token, dtype=np.int64)
        targets = np.zeros((len(windows), longest), dtype=np.int64)
        for row, (number, first, end, _) in enumerate(windows):
            tokens = documents[number]
            targets[row, : end - first] = tokens[first:end]
            inputs[row, 1 if first == 0 else 0 : end - first] = tokens[max(first - 1, 0) : end - 1]
        logits = self.network(torch.from_numpy(inputs).to(self.device))
        wanted = torch.from_numpy(targets).to(self.device)
        nats = functional.cross_entropy(logits.flatten(0, 1).float(), wanted.flatten(), reduction="none").view(
            wanted.shape
        )
        found = -nats.cpu().numpy()
        for row, (number, first, end, scored) in enumerate(windows):
            scores[number][scored:end] = found[row, scored - first : end - first]

    def decoder(self, context: Sequence[int], batch: int) -> "NetworkDecoder":
        known = [self.start_token, *(int(token) for token in context)]
        return NetworkDecoder(self, torch.tensor([known] * batch)[:, -self.network.block_size :])


class NetworkDecoder:
    """Continuations that are read anew at every token: the simplest way, and fast enough at these sizes."""

    def __init__(self, model: NetworkModel, windows: Tensor) -> None:
        self._model = model
        self._windows = windows

    @torch.inference_mode()
    def log_probabilities(self) -> LogProbabilities:
        self._model.module.eval()
        logits = self._model.network(self._windows.to(self._model.device))[:, -1]
        return np.asarray(logits.float().log_softmax(-1).cpu().numpy(), dtype=np.float32)

    def push(self, tokens: Sequence[int]) -> None:
        grown = torch.cat([self._windows, torch.tensor(list(tokens), dtype=torch.int64).view(-1, 1)], dim=1)
        self._windows = grown[:, -self._model.network.block_size :]

    def keep(self, rows: Sequence[int]) -> None:
        self._windows = self._windows[list(rows)]
