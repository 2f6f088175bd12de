"""The miniature's shape, its start values, and a faster way to compute its experts while training."""
import math

import torch
from torch.nn import functional as F
from transformers import Gemma4ForCausalLM
from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts, Gemma4TextRouter

SHAPE = dict(
    hidden_size=256, num_hidden_layers=6, intermediate_size=192,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"] * 2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=64,
    num_global_key_value_heads=1, global_head_dim=128, attention_k_eq_v=True,
    sliding_window=128, max_position_embeddings=8192,
    enable_moe_block=True, num_experts=16, top_k_experts=4, moe_intermediate_size=64,
    hidden_size_per_layer_input=0, num_kv_shared_layers=0, use_double_wide_mlp=False,
    final_logit_softcapping=30.0, rms_norm_eps=1e-6, tie_word_embeddings=True,
    pad_token_id=0, eos_token_id=[1, 106, 50], bos_token_id=2,
)


def config(vocab_size, **over):
    return Gemma4TextConfig(vocab_size=vocab_size, vocab_size_per_layer_input=vocab_size, **{**SHAPE, **over})


def build(vocab_size, seed=1, **over):
    """A fresh miniature (the reference class), with start values that train well at attention scale 1.0."""
    torch.manual_seed(seed)
    cfg = config(vocab_size, **over)
    cfg._attn_implementation = "eager"
    cfg._experts_implementation = "eager"
    model = Gemma4ForCausalLM(cfg)
    with torch.no_grad():
        model.model.embed_tokens.weight.normal_(0, cfg.hidden_size**-0.5)
        for i, layer in enumerate(model.model.layers):
            # A parameter while training; the name, and so the file, stay those of the reference.
            del layer.layer_scalar
            layer.layer_scalar = torch.nn.Parameter(torch.tensor([1.0 - 0.05 * (i % 3)]))
            for norm in (layer.self_attn.q_norm, layer.self_attn.k_norm):
                norm.weight.fill_(math.sqrt(1.5) * norm.weight.numel() ** -0.25)  # q.k of standard deviation 1.5
            layer.post_attention_layernorm.weight.fill_(0.5)
            layer.post_feedforward_layernorm.weight.fill_(0.5)
            layer.router.proj.weight.normal_(0, 1.0)
            for name, p in layer.named_parameters():
                if p.dim() >= 2 and "router" not in name:
                    p.normal_(0, p.shape[-1] ** -0.5)
    return model


def _experts_dense(self, hidden, index, weight):
    """The reference's function as two large matrix products: every expert is computed, those not chosen get weight 0."""
    rows, n, f = hidden.shape[0], self.num_experts, self.intermediate_dim
    w = torch.zeros(rows, n, dtype=weight.dtype).scatter(1, index, weight)
    gate_up = F.linear(hidden, self.gate_up_proj.reshape(n * 2 * f, -1)).view(rows, n, 2, f)
    act = F.gelu(gate_up[:, :, 0], approximate="tanh") * gate_up[:, :, 1] * w.unsqueeze(-1).to(gate_up.dtype)
    down = self.down_proj.permute(1, 0, 2).reshape(-1, n * f)
    return F.linear(act.reshape(rows, n * f), down).to(hidden.dtype)


_router = Gemma4TextRouter.forward


def _router_watched(self, hidden):
    out = _router(self, hidden)
    self.seen_probability, self.seen_index = out[0], out[2]
    return out


def speed_up():
    """From now on experts are computed densely and routers remember what they chose. Values stay the reference's."""
    Gemma4TextExperts.forward = _experts_dense
    Gemma4TextRouter.forward = _router_watched


def balance(model):
    """1 when every expert gets the same share of the last step, larger otherwise."""
    total = 0.0
    for layer in model.model.layers:
        prob, index = layer.router.seen_probability, layer.router.seen_index
        n = prob.shape[1]
        share = torch.bincount(index.reshape(-1), minlength=n).to(prob.dtype) / index.numel()
        total = total + n * (share * prob.mean(0)).sum()
    return total / len(model.model.layers)
