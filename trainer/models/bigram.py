"""The bigram as a network: one matrix whose row for a token holds the logits of what follows it."""

import torch
from torch import Tensor, nn


class NeuralBigram(nn.Module):
    """The counted bigram, found by gradient descent. A token's row is taken by index, which is what multiplying
    the matrix with its one-hot vector would give, without the multiplication."""

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.block_size = 64
        self.lead = 0
        self.logits = nn.Embedding(vocab_size, vocab_size)
        nn.init.zeros_(self.logits.weight)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) tokens → (batch, time, vocab_size) logits of the next."""
        return torch.as_tensor(self.logits(tokens))
