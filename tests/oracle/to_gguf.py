"""Writes a miniature as a GGUF file with its matrices in any type, without llama.cpp (and without a tokenizer)."""
import gguf
import numpy as np

import encode
import from_gguf

T = gguf.GGMLQuantizationType
FALLBACK = T.Q8_0                # for rows that are no multiple of the type's block


def keys(w, s):
    sliding = [t == "sliding_attention" for t in s.layer_types]
    first_shared = s.layers - s.shared
    w.add_context_length(4096)
    w.add_embedding_length(s.hidden)
    w.add_block_count(s.layers)
    w.add_vocab_size(s.vocab)
    w.add_feed_forward_length([s.ff * (2 if s.kind == "e2b" and i >= first_shared else 1) for i in range(s.layers)])
    w.add_head_count(s.nq)
    w.add_head_count_kv([s.nkv if slide or not s.k_eq_v else s.nkv_full for slide in sliding])
    w.add_key_length(s.d_full)
    w.add_value_length(s.d_full)
    w.add_key_length_swa(s.d)
    w.add_value_length_swa(s.d)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_sliding_window(s.window)
    w.add_sliding_window_pattern(sliding)
    w.add_shared_kv_layers(s.shared)
    w.add_embedding_length_per_layer_input(s.ple)
    w.add_rope_freq_base(1e6)
    w.add_rope_freq_base_swa(1e4)
    w.add_rope_dimension_count(s.d_full)
    w.add_rope_dimension_count_swa(s.d)
    w.add_final_logit_softcapping(30.0)
    if s.experts:
        w.add_expert_count(s.experts)
        w.add_expert_used_count(s.top_k)
        w.add_expert_feed_forward_length(s.expert_ff)


def rope_factors(s):
    turned = int(s.d_full * 0.25 / 2)
    return np.array([1.0] * turned + [1e30] * (s.d_full // 2 - turned), np.float32)


def write(s, model, path, kind):
    """Vectors and the router stay F32, as llama.cpp leaves them; returns how many matrices fell back to Q8_0."""
    w, fell = gguf.GGUFWriter(path, "gemma4"), 0
    keys(w, s)
    w.add_tensor("rope_freqs.weight", rope_factors(s))
    for name, x in model.model.state_dict().items():
        x, target = x.float().numpy(), from_gguf.gguf_name(name)
        if x.ndim < 2 or kind == T.F32 or "ffn_gate_inp" in target:
            w.add_tensor(target, x)
            continue
        data, used = encode.encode(x, kind), kind
        if data is None:
            data, used, fell = encode.encode(x, FALLBACK), FALLBACK, fell + 1
        w.add_tensor(target, data, raw_dtype=used)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return fell
