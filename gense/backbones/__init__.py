"""Networks, all called as (x, t, cond) but the language model, whose tokens have positions and a past."""

from gense.backbones.base import Backbone
from gense.backbones.causal_lm import CausalLM
from gense.backbones.dit import DiT
from gense.backbones.dual_path import DualPath
from gense.backbones.mmdit import MMDiT
from gense.backbones.ncsnpp import NCSNpp
from gense.backbones.ssl_encoder import SSLEncoder
from gense.backbones.unet import UNet
from gense.backbones.unett import UNetT

__all__ = ["Backbone", "CausalLM", "DiT", "DualPath", "MMDiT", "NCSNpp", "SSLEncoder", "UNet", "UNetT"]
