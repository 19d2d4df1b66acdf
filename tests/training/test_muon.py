"""Muon: what it does to matrices, and that it is AdamW for the rest."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from gense.training import Muon
from gense.training.muon import orthogonal


def test_matrices_become_orthogonal_and_keep_their_singular_vectors() -> None:
    torch.manual_seed(0)
    for shape in ((2, 64, 96), (2, 96, 64)):
        x = torch.randn(shape)
        u, s, vh = torch.linalg.svd(x, full_matrices=False)
        turned = u.mT @ orthogonal(x) @ vh.mT
        values = turned.diagonal(dim1=-2, dim2=-1)
        assert values[s > 0.02 * s.amax()].min() > 0.6
        assert values.max() < 1.25
        assert (turned - torch.diag_embed(values)).abs().max() < 1e-3


def test_a_first_step_moves_elements_as_far_as_adamw_does_on_average() -> None:
    torch.manual_seed(0)
    for rows, columns in ((64, 64), (192, 64), (256, 64), (64, 256)):
        p = nn.Parameter(torch.zeros(rows, columns))
        p.grad = torch.randn(rows, columns)
        Muon([p], lr=1.0, weight_decay=0.0).step()
        assert 0.15 < p.detach().square().mean().sqrt() < 0.25, (rows, columns)


def test_stacked_query_key_and_value_are_three_matrices() -> None:
    torch.manual_seed(0)
    grads = torch.randn(3, 64, 64) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    together = nn.Parameter(torch.zeros(192, 64))
    together.grad = grads.flatten(0, 1)
    Muon([together], weight_decay=0.0).step()
    for part, grad in zip(together.detach().chunk(3), grads, strict=True):
        alone = nn.Parameter(torch.zeros(64, 64))
        alone.grad = grad
        Muon([alone], weight_decay=0.0).step()
        torch.testing.assert_close(part, alone.detach())


def test_everything_else_is_adamw() -> None:
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in ((64,), (3, 64, 64), (2, 64, 64), (63, 200))]
    theirs = copy.deepcopy(ours)
    left, right = Muon(ours, lr=1e-2, weight_decay=0.1), torch.optim.AdamW(theirs, lr=1e-2, weight_decay=0.1)
    for _ in range(5):
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn_like(p)
            q.grad = p.grad.clone()
        left.step()
        right.step()
    for p, q in zip(ours, theirs, strict=True):
        torch.testing.assert_close(p, q)


def _network() -> tuple[nn.Module, Muon]:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 192), nn.GELU(), nn.Linear(192, 64))
    return network, Muon(network.parameters(), lr=1e-2)


def _run(network: nn.Module, optimizer: Muon, steps: range) -> float:
    loss = 0.0
    for step in steps:
        x = torch.randn(32, 64, generator=torch.Generator().manual_seed(step))

        def closure(x=x) -> torch.Tensor:
            optimizer.zero_grad()
            error = (network(x) - x.flip(-1)).square().mean()
            error.backward()
            return error

        loss = float(optimizer.step(closure))
    return loss


def test_it_learns_and_goes_on_from_its_state_as_if_never_stopped() -> None:
    network, optimizer = _network()
    first = _run(network, optimizer, range(1))
    middle = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    last = _run(network, optimizer, range(1, 60))
    assert last < 0.3 * first
    resumed, again = _network()
    resumed.load_state_dict(middle[0])
    again.load_state_dict(middle[1])
    assert _run(resumed, again, range(1, 60)) == last


@pytest.mark.parametrize("wrong", [{"lr": -1.0}, {"weight_decay": -0.1}, {"momentum": 1.0}, {"betas": (0.9, 1.0)}])
def test_impossible_numbers_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="need rates >= 0"):
        Muon([nn.Parameter(torch.zeros(64, 64))], **wrong)


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to train"):
        Muon([])
