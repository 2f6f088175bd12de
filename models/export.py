"""Writes a checkpoint as GGUF: python export.py CHECKPOINT facet-mini.gguf

Matrices become Q8_0, except the routers; norms, scales and routers stay F32, as converters of the real models leave them.
"""
import argparse
import json
import pathlib

import gguf
import numpy as np
from safetensors.numpy import load_file

import render
import vocab

TEMPERATURE = 0.3  # so small a model is not sure enough of itself for 1.0

LAYER = {  # reference name -> name in the file
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "post_feedforward_layernorm": "post_ffw_norm",
    "router.proj": "ffn_gate_inp", "pre_feedforward_layernorm_2": "pre_ffw_norm_2",
    "post_feedforward_layernorm_1": "post_ffw_norm_1", "post_feedforward_layernorm_2": "post_ffw_norm_2",
}
BARE = {"layer_scalar": "layer_output_scale.weight", "router.scale": "ffn_gate_inp.scale",
        "router.per_expert_scale": "ffn_down_exps.scale", "experts.gate_up_proj": "ffn_gate_up_exps.weight",
        "experts.down_proj": "ffn_down_exps.weight"}


def file_name(name):
    if name == "model.embed_tokens.weight":
        return "token_embd.weight"
    if name == "model.norm.weight":
        return "output_norm.weight"
    _, _, layer, rest = name.split(".", 3)
    return f"blk.{layer}." + (BARE.get(rest) or LAYER[rest.removesuffix(".weight")] + ".weight")


def stored_as_q8_0(name, shape):
    return len(shape) >= 2 and "ffn_gate_inp" not in name


def tensors(checkpoint):
    """(name in the file, float32 array), in the file's order."""
    weights = {file_name(k): v.astype(np.float32) for k, v in load_file(checkpoint / "model.safetensors").items() if k != "lm_head.weight"}
    cfg = json.loads((checkpoint / "config.json").read_text())
    pairs = full_head(cfg) // 2
    turning = int(0.25 * full_head(cfg)) // 2
    weights["rope_freqs.weight"] = np.array([1.0] * turning + [1e30] * (pairs - turning), np.float32)
    first = ["token_embd.weight", "rope_freqs.weight", "output_norm.weight"]
    rest = sorted((k for k in weights if k not in first), key=lambda k: (int(k.split(".")[1]), k))
    return [(k, weights[k]) for k in first + rest]


def per_layer(cfg, i, key):
    """A value that full-attention layers may have of their own (newer configurations list them by layer)."""
    own = cfg.get("per_layer_config", {})
    for k in (str(i), "%02d" % i):
        if key in own.get(k, {}):
            return own[k][key]
    return cfg[key]


def full_head(cfg):
    return per_layer(cfg, cfg["layer_types"].index("full_attention"), "head_dim")


def write(checkpoint, path):
    cfg = json.loads((checkpoint / "config.json").read_text())
    kinds = cfg["layer_types"]
    tok = json.loads((checkpoint / "tokenizer.json").read_text())
    merges = [tuple(m) for m in tok["model"]["merges"]]
    tokens = [t for t, _ in sorted(tok["model"]["vocab"].items(), key=lambda x: x[1])]
    w = gguf.GGUFWriter(str(path), "gemma4")
    w.add_type("model")
    w.add_name("Facet miniature")
    w.add_basename("facet-mini")
    w.add_size_label("7M")
    w.add_license("apache-2.0")
    w.add_description("A miniature with the architecture of Gemma 4 26B-A4B, trained from scratch on generated conversations.")
    w.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)
    w.add_int32("general.sampling.top_k", 64)
    w.add_float32("general.sampling.top_p", 0.95)
    w.add_float32("general.sampling.temp", TEMPERATURE)
    w.add_block_count(cfg["num_hidden_layers"])
    w.add_context_length(cfg["max_position_embeddings"])
    w.add_embedding_length(cfg["hidden_size"])
    w.add_feed_forward_length(cfg["intermediate_size"])
    w.add_head_count(cfg["num_attention_heads"])
    w.add_head_count_kv([per_layer(cfg, i, "num_key_value_heads") for i in range(len(kinds))])
    w.add_uint32("gemma4.attention.key_length", full_head(cfg))
    w.add_uint32("gemma4.attention.value_length", full_head(cfg))
    w.add_uint32("gemma4.attention.key_length_swa", cfg["head_dim"])
    w.add_uint32("gemma4.attention.value_length_swa", cfg["head_dim"])
    w.add_layer_norm_rms_eps(cfg["rms_norm_eps"])
    w.add_sliding_window(cfg["sliding_window"])
    w.add_array("gemma4.attention.sliding_window_pattern", [k == "sliding_attention" for k in kinds])
    w.add_uint32("gemma4.attention.shared_kv_layers", 0)
    w.add_uint32("gemma4.embedding_length_per_layer_input", 0)
    w.add_rope_freq_base(1e6)
    w.add_float32("gemma4.rope.freq_base_swa", 1e4)
    w.add_rope_dimension_count(full_head(cfg))
    w.add_uint32("gemma4.rope.dimension_count_swa", cfg["head_dim"])
    w.add_float32("gemma4.final_logit_softcapping", cfg["final_logit_softcapping"])
    w.add_expert_count(cfg["num_experts"])
    w.add_expert_used_count(cfg["top_k_experts"])
    w.add_expert_feed_forward_length(cfg["moe_intermediate_size"])
    w.add_tokenizer_model("gemma4")
    w.add_token_list(tokens)
    w.add_token_scores([-1000.0] * len(tokens))
    w.add_token_types(vocab.types(tokens))
    w.add_token_merges([a + " " + b for a, b in merges])
    w.add_bos_token_id(2)
    w.add_eos_token_id(106)
    w.add_unk_token_id(3)
    w.add_pad_token_id(0)
    w.add_mask_token_id(4)
    w.add_add_space_prefix(False)
    w.add_add_bos_token(True)
    w.add_chat_template(render.TEMPLATE.read_text())
    for name, value in tensors(checkpoint):
        if stored_as_q8_0(name, value.shape):
            kind = gguf.GGMLQuantizationType.Q8_0
            w.add_tensor(name, gguf.quants.quantize(value, kind), raw_dtype=kind)
        else:
            w.add_tensor(name, value)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("checkpoint", type=pathlib.Path)
    a.add_argument("out", type=pathlib.Path)
    args = a.parse_args()
    part = args.out.with_name(args.out.name + ".part")
    write(args.checkpoint, part)
    part.rename(args.out)
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
