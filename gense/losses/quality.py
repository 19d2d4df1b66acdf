"""Speech quality as a trained network hears it, as a training loss."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gense.losses.base import WaveLoss

_HOP, _FRAME = 160, 320
_FLOOR = 1e-3  # of the power in a bin; speech at -20 dB of full scale has a median near 0.1
# Convolutions of the network in order, and those that a 2x2 maximum follows.
_CONVOLUTIONS = ("conv2d", *(f"conv2d_{index}" for index in range(1, 7)))
_POOLED = ("conv2d_3", "conv2d_4", "conv2d_5")
_DENSE = ("dense", "dense_1", "dense_3")


class QualityLoss(WaveLoss):
    """How far the DNSMOS scores of the estimate fall short of those of the clean speech.

    The mean over speech, background and overall quality (P.835, Reddy et al. 2022) of max(0, clean - estimate), in
    the network's raw units, about one point each. What already scores like the target gives no gradient, so that the
    enhancer is not paid for scores beyond real speech; neither do targets under -50 dB of full scale, pauses between
    words.

    The first call reads the network's weights, with the packages `onnx` and `speechmos`: a model that was trained with
    this loss loads without them.

    Args:
        weight: factor in the sum of losses.
        items: items of a batch that are judged, the first ones; the network costs more than a compact enhancer.
        sample_rate: must be 16000.

    Raises:
        ImportError: on the first call, `onnx` or `speechmos` is not installed.
        ValueError: another rate, or items < 1.
    """

    def __init__(self, *, weight: float = 0.03, items: int = 2, sample_rate: int = 16000):
        super().__init__()
        if sample_rate != 16000 or items < 1:
            raise ValueError(f"sample_rate={sample_rate}, items={items}: DNSMOS works at 16000 Hz, on 1 item or more")
        self.weight, self.items = weight, items
        self.network: QualityNetwork | None = None

    def forward(self, estimate: Tensor, clean: Tensor) -> Tensor:
        if self.network is None:
            self.network = QualityNetwork(read_weights()).to(clean.device)
        with torch.no_grad():
            goal = self.network(clean[: self.items])
            audible = (clean[: self.items].square().mean(-1) > 1e-5).to(goal)
        short = F.relu(goal - self.network(estimate[: self.items])).mean(dim=1)
        return (short * audible).sum() / audible.sum().clamp(min=1.0)


class QualityNetwork(nn.Module):
    """The network of DNSMOS P.835 (Reddy et al. 2022), differentiable with respect to its input.

    It ends in a maximum over all positions, so that a crop scores like the same crop repeated to the nine seconds for
    which it was made.

    Args:
        weights: tensors by their name in the published ONNX file.
    """

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        transform = torch.cat([weights[f"time2freq/stft-{part}/kernel:0"][..., 0] for part in ("real", "imag")])
        self.register_buffer("transform", transform, persistent=False)
        for name in _CONVOLUTIONS:
            self.register_buffer(f"{name}_kernel", weights[f"{name}/kernel:0"], persistent=False)
            self.register_buffer(f"{name}_bias", weights[f"{name}/bias:0"], persistent=False)
        for name in _DENSE:
            stem = f"mos_estimator_logpow/{name}/"
            kernel = weights[f"{stem}MatMul/ReadVariableOp/resource:0"]
            self.register_buffer(f"{name}_kernel", kernel.T.contiguous(), persistent=False)
            self.register_buffer(f"{name}_bias", weights[f"{stem}BiasAdd/ReadVariableOp/resource:0"], persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Raw scores (B, 3) of (B, S) at 16 kHz: speech, background, overall."""
        frames = wav.unfold(-1, _FRAME, _HOP) @ self.get_buffer("transform").T
        real, imaginary = frames.chunk(2, dim=-1)
        power = real.square() + imaginary.square()
        # The exact logarithm, with the gradient of a floored one: that of near silence would drown all others.
        floored = torch.log10(power + _FLOOR)
        x = (floored + (torch.log10(power.clamp(min=1e-12)) - floored).detach())[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        for name in _CONVOLUTIONS:
            x = F.relu(F.conv2d(x, self.get_buffer(f"{name}_kernel"), self.get_buffer(f"{name}_bias"), padding=1))
            if name in _POOLED:
                x = F.max_pool2d(x, 2)
        x = x.amax(dim=(2, 3))
        for name in _DENSE:
            x = F.linear(x, self.get_buffer(f"{name}_kernel"), self.get_buffer(f"{name}_bias"))
            if name != _DENSE[-1]:
                x = F.relu(x)
        return x


def read_weights() -> dict[str, Tensor]:
    """The DNSMOS P.835 weights that the package `speechmos` ships, by their name in its ONNX file.

    Raises:
        ImportError: `onnx` or `speechmos` is not installed.
    """
    try:
        import onnx
        from onnx import numpy_helper
    except ModuleNotFoundError as error:
        raise ImportError("onnx is not installed: pip install gense[train]") from error
    # Located without importing speechmos, which would import librosa.
    package = find_spec("speechmos")
    if package is None or package.origin is None:
        raise ImportError("speechmos is not installed: pip install gense[metrics]")
    graph = onnx.load(Path(package.origin).parent / "dnsmos_models" / "sig_bak_ovr.onnx").graph
    return {entry.name: torch.from_numpy(numpy_helper.to_array(entry).copy()) for entry in graph.initializer}
