"""Networks, all called as (x, t, cond)."""

from gense.backbones.base import Backbone
from gense.backbones.dit import DiT
from gense.backbones.mmdit import MMDiT
from gense.backbones.ncsnpp import NCSNpp
from gense.backbones.unet import UNet
from gense.backbones.unett import UNetT

__all__ = ["Backbone", "DiT", "MMDiT", "NCSNpp", "UNet", "UNetT"]
