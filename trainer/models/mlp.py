"""The multi-layer perceptron of Bengio et al. (2003): embed the last few tokens, one tanh layer, guess the next."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class MLP(nn.Module):
    """Tokens that behave alike get embeddings that lie close, so what is learned of one serves the other.

    `context` tokens are looked at; before a text begins stands `start_token`. The last layer starts near zero, so
    that training starts at ln(vocab_size) and spends no steps on unlearning random confidence.
    """

    def __init__(self, vocab_size: int, *, context: int, n_embd: int, n_hidden: int, start_token: int) -> None:
        super().__init__()
        self.vocab_size = vocab_size
        self.context = context
        self.start_token = start_token
        self.block_size = 64
        self.lead = context - 1  # a block's first tokens lack part of what they should look at
        self.embedding = nn.Embedding(vocab_size, n_embd)
        self.hidden = nn.Linear(context * n_embd, n_hidden)
        self.output = nn.Linear(n_hidden, vocab_size)
        nn.init.normal_(self.hidden.weight, std=(5 / 3) / (context * n_embd) ** 0.5)
        nn.init.zeros_(self.hidden.bias)
        nn.init.normal_(self.output.weight, std=0.01)
        nn.init.zeros_(self.output.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """(batch, time) tokens → (batch, time, vocab_size) logits of the next."""
        padded = functional.pad(tokens, (self.context - 1, 0), value=self.start_token)
        windows = padded.unfold(1, self.context, 1)
        hidden = torch.tanh(self.hidden(self.embedding(windows).flatten(2)))
        return torch.as_tensor(self.output(hidden))

    @torch.no_grad()
    def seen_embedding(self) -> Tensor:
        """Each token as the hidden layer sees it when it was the last one, (vocab_size, n_hidden): the embedding
        without the directions that nothing ever reads, which keep the noise that they began with."""
        last = self.hidden.weight[:, -self.embedding.embedding_dim :]
        return torch.as_tensor(self.embedding.weight @ last.T)
