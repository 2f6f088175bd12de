"""Random Gemma 4 models of a few hundred KB, in all five architectures.

A miniature is a Spec (sizes, a seed, and how its folder is written) and a function of it: the same Spec
gives the same bytes on every machine (NumPy's PCG64; every weight is exactly representable in bf16).

The weights are neither trivial nor chaotic: norms and layer scalars are spread, attention and routing are
far from uniform, logits reach the softcap, and still float32 and float64 agree to better than 1e-3
(reference.py asserts all of it).
"""
import dataclasses
import json
import os

import numpy as np
import torch
from safetensors.torch import save_file
from transformers.initialization import no_init_weights
from transformers.models.gemma4.configuration_gemma4 import Gemma4TextConfig
from transformers.models.gemma4.modeling_gemma4 import Gemma4ForCausalLM
from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedTextConfig
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedForCausalLM

KINDS = ("e2b", "e4b", "12b", "26b", "31b")


@dataclasses.dataclass(frozen=True)
class Spec:
    name: str
    kind: str               # one of KINDS
    seed: int
    hidden: int
    layers: int
    period: int             # every period-th layer is a full one
    ff: int
    nq: int
    nkv: int
    nkv_full: int           # full layers of K=V models; others have nkv everywhere
    d: int
    d_full: int
    window: int
    vocab: int
    tokens: int             # length of the golden prompt: more than two windows
    ple: int = 0
    shared: int = 0         # layers at the end that reuse K and V
    experts: int = 0
    top_k: int = 0
    expert_ff: int = 0
    # how the folder is written
    form: str = "published"     # config.json: "published" (global_head_dim), "per_layer", or "saved" by transformers itself
    prefix: str = "model.language_model."
    dtype: str = "bf16"         # of the stored tensors: bf16, f16, f32
    shards: int = 1
    dead_kv: bool = False       # K and V of shared layers are in the file, as in the original E2B and E4B files
    towers: bool = False        # a few vision tensors that a text engine ignores

    @property
    def k_eq_v(self):
        return self.kind in ("12b", "26b", "31b")

    @property
    def layer_types(self):
        return ["sliding_attention" if (i + 1) % self.period else "full_attention" for i in range(self.layers)]


def text_config(s):
    cls = Gemma4UnifiedTextConfig if s.kind == "12b" else Gemma4TextConfig
    kw = dict(
        vocab_size=s.vocab, hidden_size=s.hidden, intermediate_size=s.ff, num_hidden_layers=s.layers,
        num_attention_heads=s.nq, num_key_value_heads=s.nkv, head_dim=s.d, global_head_dim=s.d_full,
        num_global_key_value_heads=s.nkv_full if s.k_eq_v else None, sliding_window=s.window,
        layer_types=s.layer_types, final_logit_softcapping=30.0, max_position_embeddings=4096,
        attention_k_eq_v=s.k_eq_v, num_kv_shared_layers=s.shared, use_double_wide_mlp=s.kind == "e2b",
        use_bidirectional_attention="vision" if s.k_eq_v else None)
    if s.kind != "12b":
        kw.update(vocab_size_per_layer_input=s.vocab, hidden_size_per_layer_input=s.ple,
                  enable_moe_block=s.experts > 0, num_experts=s.experts or None, top_k_experts=s.top_k or None,
                  moe_intermediate_size=s.expert_ff or None)
    cfg = cls(**kw)
    cfg._attn_implementation = "eager"
    cfg._experts_implementation = "eager"
    return cfg


def bf16(x):
    return torch.from_numpy(np.asarray(x, np.float32)).to(torch.bfloat16).to(torch.float32)


def weight(s, rng, name, shape):
    """The distribution of each tensor, by name."""
    n = lambda std: rng.standard_normal(shape, np.float32) * np.float32(std)
    spread = lambda mid, sigma: np.float32(mid) * np.exp(n(sigma))
    uniform = lambda lo, hi: rng.uniform(lo, hi, shape).astype(np.float32)
    fan_in = shape[-1]
    if name.endswith("layer_scalar"):
        return uniform(0.6, 1.2)
    if name.endswith(("q_norm.weight", "k_norm.weight")):
        return spread((1.6 / shape[0] ** 0.5) ** 0.5, 0.3)      # q.k gets a standard deviation near 1.6
    if name == "norm.weight":
        # logits reach the softcap; random signs, or the tied head would answer with the token just read
        return uniform(4, 12) * rng.choice(np.float32([-1, 1]), shape)
    if "post_" in name and "norm" in name:
        return uniform(0.5, 1.0)
    if name.endswith(("norm.weight", "norm_2.weight")):
        return spread(1, 0.4)
    if name == "embed_tokens.weight":
        return n(1.2 / s.hidden ** 0.5)
    if name == "embed_tokens_per_layer.weight":
        return n(1.0 / s.ple ** 0.5)
    if name.endswith("router.proj.weight"):
        return n(1.8)
    if name.endswith("router.scale"):
        return spread(1, 0.3)
    if name.endswith("per_expert_scale"):
        return uniform(0.5, 1.5)
    return n(fan_in ** -0.5)


def fix_embed_scale(model):
    """Published models run in bf16, so their embedding scales are bf16 numbers; in float32 transformers would
    not round them."""
    for name, buf in model.named_buffers():
        if name.endswith("embed_scale"):
            buf.copy_(buf.to(torch.bfloat16).to(buf.dtype))
    for m in model.modules():
        if hasattr(m, "scalar_embed_scale"):
            m.scalar_embed_scale = float(torch.tensor(m.scalar_embed_scale).to(torch.bfloat16))


def build(s):
    """The reference model in float32, ready to run."""
    cfg = text_config(s)
    with no_init_weights():
        model = (Gemma4UnifiedForCausalLM if s.kind == "12b" else Gemma4ForCausalLM)(cfg).eval().float()
    rng = np.random.default_rng([s.seed, KINDS.index(s.kind)])
    state = model.model.state_dict()
    with torch.no_grad():
        for name in sorted(state):
            w = bf16(weight(s, rng, name, tuple(state[name].shape)))
            if s.dtype == "f16":
                w[w.abs() < 2.0 ** -13] = 0      # so that bf16 values are f16 values too
            state[name].copy_(w)
    fix_embed_scale(model)
    model.tie_weights()
    return model


def prompt(s):
    """The golden prompt: bos, then random ids over the whole vocabulary, a few of them repeated."""
    rng = np.random.default_rng([s.seed, 77])
    ids = rng.integers(0, s.vocab, s.tokens)
    ids[0] = 2
    ids[s.tokens // 2:s.tokens // 2 + 4] = ids[s.tokens // 4]
    return [int(i) for i in ids]


# ---- writing the folder as Hugging Face publishes it ---------------------------------------------

def published_text_config(s):
    """text_config by hand, in the form and order of the published files."""
    d = {
        "attention_bias": False, "attention_dropout": 0.0, "attention_k_eq_v": s.k_eq_v, "bos_token_id": 2,
        "dtype": "bfloat16", "enable_moe_block": s.experts > 0, "eos_token_id": 1,
        "final_logit_softcapping": 30.0, "global_head_dim": s.d_full, "head_dim": s.d,
        "hidden_activation": "gelu_pytorch_tanh", "hidden_size": s.hidden, "hidden_size_per_layer_input": s.ple,
        "initializer_range": 0.02, "intermediate_size": s.ff, "layer_types": s.layer_types,
        "max_position_embeddings": 4096, "model_type": "gemma4_unified_text" if s.kind == "12b" else "gemma4_text",
        "moe_intermediate_size": s.expert_ff or None,
        "num_attention_heads": s.nq, "num_experts": s.experts or None,
        "num_global_key_value_heads": s.nkv_full if s.k_eq_v else None, "num_hidden_layers": s.layers,
        "num_key_value_heads": s.nkv, "num_kv_shared_layers": s.shared, "pad_token_id": 0, "rms_norm_eps": 1e-06,
        "rope_parameters": {
            "full_attention": {"partial_rotary_factor": 0.25, "rope_theta": 1000000.0, "rope_type": "proportional"},
            "sliding_attention": {"rope_theta": 10000.0, "rope_type": "default"}},
        "sliding_window": s.window, "tie_word_embeddings": True, "top_k_experts": s.top_k or None,
        "use_bidirectional_attention": "vision" if s.k_eq_v else None, "use_cache": True,
        "use_double_wide_mlp": s.kind == "e2b", "vocab_size": s.vocab, "vocab_size_per_layer_input": s.vocab}
    if not s.experts:
        d["expert_intermediate_size"] = None        # the older name; the published small models still carry it
    return d


def published_config(s):
    t = published_text_config(s)
    if s.form == "per_layer":          # as transformers >= 5.15 writes it
        del t["global_head_dim"], t["num_global_key_value_heads"]
        width = len(str(s.layers - 1))
        over = {"head_dim": s.d_full}
        if s.k_eq_v:
            over["num_key_value_heads"] = s.nkv_full
        t["per_layer_config"] = {f"{i:0{width}d}": over for i, k in enumerate(s.layer_types) if k == "full_attention"}
    unified = s.kind == "12b"
    return {
        "architectures": ["Gemma4UnifiedForConditionalGeneration" if unified else "Gemma4ForConditionalGeneration"],
        "audio_config": None, "boi_token_id": 255999, "dtype": "bfloat16", "eoi_token_id": 258882,
        "eos_token_id": [1, 106], "image_token_id": 258880, "initializer_range": 0.02,
        "model_type": "gemma4_unified" if unified else "gemma4", "text_config": t, "tie_word_embeddings": True,
        "transformers_version": "5.5.0.dev0", "video_token_id": 258884, "vision_config": None,
        "vision_soft_tokens_per_image": 280}


def file_tensors(s, model):
    """name -> tensor as stored, with the dead K and V that the original E2B and E4B files carry."""
    out = {s.prefix + name: w for name, w in model.model.state_dict().items()}
    if s.dead_kv:
        rng = np.random.default_rng([s.seed, 99])
        for i in range(s.layers - s.shared, s.layers):
            d = s.d if s.layer_types[i] == "sliding_attention" else s.d_full
            base = f"{s.prefix}layers.{i}.self_attn."
            for part, shape in (("k_proj", (s.nkv * d, s.hidden)), ("v_proj", (s.nkv * d, s.hidden)), ("k_norm", (d,))):
                out[base + part + ".weight"] = bf16(rng.standard_normal(shape, np.float32))
    if s.towers:
        out["model.vision_tower.patch_embedder.input_proj.weight"] = torch.ones(8, 12)
        out["model.vision_tower.std_bias"] = torch.zeros(8)
        out["model.embed_vision.embedding_projection.weight"] = torch.ones(s.hidden, 8)
    t = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[s.dtype]
    return {k: v.to(t).contiguous() for k, v in out.items()}


def save(s, model, folder):
    os.makedirs(folder, exist_ok=True)
    if s.form == "saved":
        import copy
        copy.deepcopy(model).to(torch.bfloat16).save_pretrained(folder)
        for f in os.listdir(folder):
            os.chmod(os.path.join(folder, f), 0o644)
        return
    tensors = file_tensors(s, model)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(published_config(s), f, indent=2)
        f.write("\n")
    with open(os.path.join(folder, "generation_config.json"), "w") as f:
        json.dump({"bos_token_id": 2, "do_sample": True, "eos_token_id": [1, 106, 50], "pad_token_id": 0,
                   "temperature": 1.0, "top_k": 64, "top_p": 0.95, "transformers_version": "5.5.0.dev0"}, f, indent=2)
        f.write("\n")
    if s.shards == 1:
        save_file(tensors, os.path.join(folder, "model.safetensors"), {"format": "pt"})
        return
    names = sorted(tensors)
    part = -(-len(names) // s.shards)
    index = {}
    for i in range(s.shards):
        mine = names[i * part:(i + 1) * part]
        file = f"model-{i + 1:05d}-of-{s.shards:05d}.safetensors"
        save_file({n: tensors[n] for n in mine}, os.path.join(folder, file), {"format": "pt"})
        index.update({n: file for n in mine})
    total = sum(v.numel() * v.element_size() for v in tensors.values())
    with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": index}, f, indent=2)
        f.write("\n")


# ---- the committed ones --------------------------------------------------------------------------

GOLDENS = [
    Spec("e2b", "e2b", 1, hidden=52, layers=10, period=5, ff=44, nq=4, nkv=1, nkv_full=1, d=14, d_full=28, window=12,
         vocab=280, tokens=48, ple=12, shared=5, dead_kv=True, towers=True),
    Spec("e2b-saved", "e2b", 2, hidden=40, layers=6, period=3, ff=50, nq=6, nkv=2, nkv_full=2, d=8, d_full=24, window=7,
         vocab=257, tokens=33, ple=10, shared=3, form="saved", prefix="model."),
    Spec("e4b", "e4b", 3, hidden=56, layers=12, period=6, ff=40, nq=4, nkv=2, nkv_full=2, d=10, d_full=20, window=8,
         vocab=260, tokens=45, ple=10, shared=6, form="per_layer", shards=3),
    Spec("12b", "12b", 4, hidden=68, layers=6, period=6, ff=80, nq=8, nkv=4, nkv_full=1, d=14, d_full=28, window=16,
         vocab=320, tokens=56, form="per_layer", towers=True),
    Spec("26b", "26b", 5, hidden=48, layers=6, period=6, ff=44, nq=4, nkv=2, nkv_full=1, d=12, d_full=24, window=10,
         vocab=270, tokens=44, experts=20, top_k=4, expert_ff=10),
    Spec("26b-odd", "26b", 6, hidden=65, layers=6, period=3, ff=37, nq=6, nkv=3, nkv_full=2, d=10, d_full=18, window=5,
         vocab=259, tokens=40, experts=5, top_k=2, expert_ff=13, form="saved", prefix="model."),
    Spec("31b", "31b", 7, hidden=72, layers=6, period=6, ff=90, nq=8, nkv=4, nkv_full=2, d=12, d_full=24, window=20,
         vocab=300, tokens=60, shards=2),
    Spec("31b-f32", "31b", 9, hidden=36, layers=4, period=2, ff=50, nq=4, nkv=2, nkv_full=1, d=12, d_full=28, window=9,
         vocab=256, tokens=30, dtype="f32"),
    Spec("31b-f16", "31b", 8, hidden=48, layers=6, period=3, ff=97, nq=4, nkv=4, nkv_full=4, d=14, d_full=22, window=3,
         vocab=256, tokens=30, dtype="f16", prefix="model."),
]


def random_spec(kind, seed):
    """A shape nobody chose."""
    r = np.random.default_rng([seed, 4242])
    pick = lambda *a: int(r.choice(a))
    nkv_full = pick(1, 2)
    nkv = nkv_full * pick(1, 2)
    nq = nkv * pick(1, 2, 3)
    period = pick(3, 4, 5, 6)
    ple = kind in ("e2b", "e4b")
    if not ple:
        layers, shared = period * pick(1, 2), 0
    else:
        layers, shared = 2 * period, period
    window = pick(2, 5, 8, 16, 31)
    e = pick(4, 7, 16, 33) if kind == "26b" else 0
    return Spec(f"{kind}-r{seed}", kind, 1000 + seed, hidden=pick(36, 63, 96, 111, 128), layers=layers, period=period,
                ff=pick(33, 64, 90, 130), nq=nq, nkv=nkv, nkv_full=nkv_full, d=pick(8, 10, 16, 32),
                d_full=pick(16, 24, 34, 64), window=window, vocab=pick(256, 307, 512), tokens=2 * window + pick(9, 20, 41),
                ple=pick(8, 17, 32) if ple else 0, shared=shared, experts=e, top_k=min(e, pick(1, 2, 3, 8)) if e else 0,
                expert_ff=pick(7, 24, 40) if e else 0,
                form=str(r.choice(["published", "per_layer", "saved"])),
                prefix="model.", shards=pick(1, 1, 2), dead_kv=bool(ple and pick(0, 1)))
