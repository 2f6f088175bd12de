"""The reference model with the weights of a GGUF file, dequantized: what a quantized file means."""
import numpy as np
import torch
from gguf import GGUFReader
from gguf.quants import dequantize

import miniatures

TOP = {"token_embd.weight": "embed_tokens.weight", "output_norm.weight": "norm.weight",
       "per_layer_token_embd.weight": "embed_tokens_per_layer.weight",
       "per_layer_model_proj.weight": "per_layer_model_projection.weight",
       "per_layer_proj_norm.weight": "per_layer_projection_norm.weight"}
LAYER = {"attn_norm.weight": "input_layernorm.weight", "attn_q.weight": "self_attn.q_proj.weight",
         "attn_k.weight": "self_attn.k_proj.weight", "attn_v.weight": "self_attn.v_proj.weight",
         "attn_output.weight": "self_attn.o_proj.weight", "attn_q_norm.weight": "self_attn.q_norm.weight",
         "attn_k_norm.weight": "self_attn.k_norm.weight", "post_attention_norm.weight": "post_attention_layernorm.weight",
         "ffn_norm.weight": "pre_feedforward_layernorm.weight", "ffn_gate.weight": "mlp.gate_proj.weight",
         "ffn_up.weight": "mlp.up_proj.weight", "ffn_down.weight": "mlp.down_proj.weight",
         "post_ffw_norm.weight": "post_feedforward_layernorm.weight", "layer_output_scale.weight": "layer_scalar",
         "inp_gate.weight": "per_layer_input_gate.weight", "proj.weight": "per_layer_projection.weight",
         "post_norm.weight": "post_per_layer_input_norm.weight", "ffn_gate_inp.weight": "router.proj.weight",
         "ffn_gate_inp.scale": "router.scale", "ffn_down_exps.scale": "router.per_expert_scale",
         "pre_ffw_norm_2.weight": "pre_feedforward_layernorm_2.weight",
         "post_ffw_norm_1.weight": "post_feedforward_layernorm_1.weight",
         "post_ffw_norm_2.weight": "post_feedforward_layernorm_2.weight",
         "ffn_gate_up_exps.weight": "experts.gate_up_proj", "ffn_down_exps.weight": "experts.down_proj"}


def hf_name(name):
    if name in TOP:
        return TOP[name]
    if name.startswith("blk."):
        _, i, rest = name.split(".", 2)
        return f"layers.{i}.{LAYER[rest]}"
    return None                               # rope_freqs


def gguf_name(name):
    """The other way round, for files written here."""
    for g, h in TOP.items():
        if h == name:
            return g
    _, i, rest = name.split(".", 2)
    return f"blk.{i}." + {h: g for g, h in LAYER.items()}[rest]


def tensor(t):
    x = dequantize(t.data, t.tensor_type) if t.tensor_type.name not in ("F32", "F16") else t.data
    return torch.from_numpy(np.array(x, dtype=np.float32))


def load(spec, path):
    """The miniature `spec` with every weight replaced by the file's."""
    model = miniatures.build(spec)
    state, seen = model.model.state_dict(), set()
    with torch.no_grad():
        for t in GGUFReader(path).tensors:
            name = hf_name(t.name)
            if name is None or name not in state:    # K and V of shared layers
                continue
            state[name].copy_(tensor(t).reshape(state[name].shape))
            seen.add(name)
    missing = set(state) - seen
    assert not missing, f"{path}: no {sorted(missing)[:3]}"
    return model


def spec_of(path):
    """The Spec whose reference model has the shapes of a GGUF file."""
    reader = GGUFReader(path)
    names = {t.name for t in reader.tensors}

    def key(name, default=None):
        f = reader.fields.get("gemma4." + name)
        return default if f is None else f.contents()

    layers, sliding = key("block_count"), key("attention.sliding_window_pattern")
    each = lambda x: x if isinstance(x, list) else [x] * layers
    ff, nkv, shared = each(key("feed_forward_length")), each(key("attention.head_count_kv")), key("attention.shared_kv_layers", 0)
    experts, ple, k_eq_v = key("expert_count", 0), key("embedding_length_per_layer_input", 0), "blk.%d.attn_v.weight" % sliding.index(False) not in names
    kind = "26b" if experts else "31b" if k_eq_v else "e2b" if ff[-1] == 2 * ff[0] else "e4b"
    vocab = int(next(t for t in reader.tensors if t.name == "token_embd.weight").shape[1])
    return miniatures.Spec(
        path, kind, 0, hidden=key("embedding_length"), layers=layers, period=sliding.index(False) + 1, ff=ff[0],
        nq=each(key("attention.head_count"))[0], nkv=nkv[sliding.index(True)], nkv_full=nkv[sliding.index(False)],
        d=key("attention.key_length_swa"), d_full=key("attention.key_length"), window=key("attention.sliding_window"),
        vocab=vocab, tokens=2 * key("attention.sliding_window") + 9, ple=ple, shared=shared, experts=experts,
        top_k=key("expert_used_count", 0), expert_ff=key("expert_feed_forward_length", 0))
