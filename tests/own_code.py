"""A tiny base with code of its own, as it was written for transformers 4: copied into its folder as modeling_old.py."""

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM


class OldConfig(LlamaConfig):
    model_type = "old"


class Rotary(nn.Module):
    """In transformers 5 its buffer is made on no device, and holds whatever lies in memory when it gets one."""

    def __init__(self, config):
        super().__init__()
        size = config.hidden_size // config.num_attention_heads
        inv_freq = 1.0 / (1e4 ** (torch.arange(0, size, 2).float() / size))
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    @torch.no_grad()
    def forward(self, x, position_ids):
        angles = position_ids[..., None].float() * self.inv_freq
        angles = torch.cat([angles, angles], -1)
        return angles.cos().to(x.dtype), angles.sin().to(x.dtype)


class ScaledHead(nn.Linear):
    """A weight beside a buffer that is not saved: transformers 5 takes the whole of it for not loaded."""

    def __init__(self, *sizes):
        super().__init__(*sizes, bias=False)
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, x):
        return super().forward(x) * self.scale


class OldForCausalLM(LlamaForCausalLM):
    config_class = OldConfig

    def __init__(self, config):
        super().__init__(config)
        if config.old == "rotary":
            self.model.rotary_emb = Rotary(config)
        if config.old == "head":
            self.lm_head = ScaledHead(config.hidden_size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module):
        if isinstance(module, ScaledHead):
            module.weight.data.normal_(std=0.02)
            module.scale.fill_(1.0)
        elif not isinstance(module, Rotary):
            super()._init_weights(module)
