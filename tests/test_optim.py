"""The optimisers: which weights they move, and that rows which nobody read stay where they are."""

import torch
from torch import nn

from trainer.models.gpt import GPT, GPTConfig, next_token_loss
from trainer.optim import Optimizers, Rates, RowAdagrad


def stepped(sparse: bool) -> torch.Tensor:
    """A table of ten rows after three steps that read rows 1 and 4 only."""
    torch.manual_seed(1)
    table = nn.Embedding(10, 4, sparse=sparse)
    optimizer = RowAdagrad([table.weight], lr=0.1)
    for rows in ([1, 4], [4, 4], [1, 4]):
        optimizer.zero_grad()
        table(torch.tensor(rows)).pow(2).sum().backward()
        optimizer.step()
    return table.weight.detach()


def test_rows_that_were_not_read_stay_exactly_as_they_were() -> None:
    torch.manual_seed(1)
    before = nn.Embedding(10, 4).weight.detach()
    after = stepped(sparse=True)
    changed = (before != after).any(1).nonzero().flatten().tolist()
    assert changed == [1, 4]


def test_sparse_and_dense_gradients_move_a_table_alike() -> None:
    assert torch.equal(stepped(sparse=True), stepped(sparse=False))


def test_every_parameter_of_a_gpt_is_moved_by_one_of_the_optimisers() -> None:
    torch.manual_seed(1)
    model = GPT(GPTConfig(50, 0, block_size=8, n_layer=1, n_head=2, n_embd=8, orders=(2, 3), rows=64))
    model.sparse_tables(True)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizers = Optimizers(model, Rates())
    for _ in range(2):
        optimizers.zero_grad()
        next_token_loss(model, torch.randint(50, (4, 8 + model.reach + 1))).backward()
        optimizers.step(1.0)
    still = [name for name, parameter in model.named_parameters() if torch.equal(parameter, before[name])]
    assert still == []
