"""What holds for every compact network on complex spectra."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from gense.backbones import Backbone

from .test_dual_path import network as dual_path
from .test_unet import network as unet


@pytest.fixture(params=[unet, dual_path], ids=["unet", "dual_path"])
def net(request) -> Backbone:
    return request.param()


def spectra(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))


def test_every_input_and_the_time_matter(net) -> None:
    x, y = spectra(2, 1, 1, 16, 16)
    t = torch.tensor([0.5])
    out = net(x, t, {"noisy": y})
    for other in (net(2 * x, t, {"noisy": y}), net(x, t, {"noisy": 2 * y}), net(x, t / 2, {"noisy": y})):
        assert not torch.allclose(out, other, rtol=1e-3)


def test_items_do_not_depend_on_their_batch(net) -> None:
    x, y = spectra(2, 2, 1, 16, 16)
    t = torch.tensor([0.2, 0.8])
    both = net(x, t, {"noisy": y})
    for i in range(2):
        single = net(x[i : i + 1], t[i : i + 1], {"noisy": y[i : i + 1]})
        torch.testing.assert_close(both[i : i + 1], single, rtol=1e-4, atol=1e-5)


def test_bfloat16_is_near_float32(net) -> None:
    x, y = spectra(2, 1, 1, 16, 16)
    out = net(x, torch.ones(1), {"noisy": y})
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = net(x, torch.ones(1), {"noisy": y})
    assert low.dtype == torch.complex64
    assert (low - out).norm() / out.norm() < 0.05


def test_the_wrong_number_of_inputs_is_refused(net) -> None:
    with pytest.raises(ValueError, match=r"got 1 input spectra \(state, no condition\).*inputs=2"):
        net(spectra(1, 1, 16, 16), torch.ones(1), {})
