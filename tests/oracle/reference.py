"""Runs the reference implementation on a miniature: logits, named intermediate tensors, noise floor, greedy text."""
import copy

import torch
import torch.nn.functional as F


class Taps:
    """Collects the tensors that README.md names, by hooks on the reference's modules."""

    def __init__(self, model, rows=None):
        self.out, self.rows, self.handles = {}, rows, []
        text = model.model
        first = lambda x: x[0] if isinstance(x, tuple) else x
        self.hook(text.embed_tokens, -1, "embed")
        self.hook(text.norm, -1, "final_norm")
        for i, layer in enumerate(text.layers):
            self.hook(layer.input_layernorm, i, "attn_norm")
            self.pre(layer.self_attn.o_proj, i, "attn")
            self.hook(layer.post_attention_layernorm, i, "attn_out")
            self.pre(layer.pre_feedforward_layernorm, i, "attn_residual")
            self.hook(layer.post_feedforward_layernorm, i, "ffn_out")
            if hasattr(layer, "router"):
                self.hook(layer.router.proj, i, "router")
                self.hook(layer.post_feedforward_layernorm_1, i, "ffn_dense")
                self.hook(layer.post_feedforward_layernorm_2, i, "ffn_experts")
            if hasattr(layer, "post_per_layer_input_norm"):
                self.hook(layer.post_per_layer_input_norm, i, "ple_out")
            self.hook(layer, i, "out", first)

    def put(self, layer, name, x):
        x = x.detach()
        if x.dim() == 3:
            x = x[0]
        x = x.reshape(x.shape[0], -1)
        self.out[layer, name] = x if self.rows is None else x[self.rows].clone()

    def hook(self, module, layer, name, pick=lambda x: x):
        self.handles.append(module.register_forward_hook(lambda m, a, y: self.put(layer, name, pick(y))))

    def pre(self, module, layer, name):
        self.handles.append(module.register_forward_pre_hook(lambda m, a: self.put(layer, name, a[0])))

    def close(self):
        for h in self.handles:
            h.remove()


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


@torch.no_grad()
def logits_taps(model, ids, rows=None):
    taps = Taps(model, rows)
    y = logits(model, ids)
    taps.close()
    return y, taps.out


def double(model):
    m = copy.deepcopy(model).double()
    m.tie_weights()
    return m


def mean_state(model, ids):
    """Mean over all rows of the last layer's output after the final norm, in float64: what an embedding is made of."""
    _, taps = logits_taps(double(model), ids)
    return taps[-1, "final_norm"].mean(0)


def routing_gap(taps, top_k):
    """The smallest distance, in router scores, between the last expert taken and the first one left: a tie could
    be broken either way, and everything after it would differ."""
    gap = float("inf")
    for (_, name), p in taps.items():
        if name == "router" and top_k < p.shape[1]:
            v = p.double().topk(top_k + 1, dim=-1).values
            gap = min(gap, float((v[:, top_k - 1] - v[:, top_k]).min()))
    return gap


@torch.no_grad()
def greedy(model, ids, n):
    """n likeliest tokens and, for each, how far the second was behind.  Always recomputed from the start, so no cache
    of the reference takes part."""
    out, margin = [], []
    ids = list(ids)
    for _ in range(n):
        top = logits(model, ids)[-1].topk(2)
        out.append(int(top.indices[0]))
        margin.append(float(top.values[0] - top.values[1]))
        ids.append(out[-1])
    return out, margin


def sharpness(model, ids):
    """Mean over heads and rows of (number of keys that attention really uses) / (keys visible), rows with 6 or more."""
    import transformers.models.gemma4.modeling_gemma4 as g
    import transformers.models.gemma4_unified.modeling_gemma4_unified as u
    used = []
    old = g.eager_attention_forward, u.eager_attention_forward

    def spy(fn):
        def f(*a, **k):
            o, w = fn(*a, **k)
            w = w[0].double()
            n = (w > 0).sum(-1)
            h = (-(w * w.clamp_min(1e-30).log()).sum(-1)).exp()
            r = (h / n)[n >= 6]
            if r.numel():
                used.append(float(r.mean()))
            return o, w.to(o.dtype)[None]
        return f
    try:
        g.eager_attention_forward, u.eager_attention_forward = spy(old[0]), spy(old[1])
        logits(model, ids)
    finally:
        g.eager_attention_forward, u.eager_attention_forward = old
    return sum(used) / len(used) if used else 0.0


def examine(spec, model, ids):
    """Logits, taps and the noise floor, with the properties a good miniature has asserted."""
    rows = [0, len(ids) // 2, len(ids) - 1]
    y, taps = logits_taps(model, ids)
    y64, taps64 = logits_taps(double(model), ids)
    error = float((y.double() - y64).abs().max())
    p = F.softmax(y64, -1)
    facts = {
        "error": error,
        "max_logit": float(y.abs().max()),
        "entropy": float(-(p * p.clamp_min(1e-30).log()).sum(-1).mean()),
        "keys_used": sharpness(model, ids),
    }
    if spec.experts:
        facts["routing_gap"] = routing_gap(taps64, spec.top_k)
        share = torch.stack([F.softmax(t.double(), -1) for (_, n), t in taps64.items() if n == "router"])
        facts["router_max_share"] = float(share.max(-1).values.mean())
        facts["experts_seen"] = float((share.mean(1) > 0.2 / spec.experts).double().mean())
    return y, {k: t[rows] for k, t in taps.items()}, rows, facts
