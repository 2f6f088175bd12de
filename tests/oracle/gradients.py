"""Loss and gradients of low-rank matrices: autograd through the reference in float32 against Facet's backward pass.

  python gradients.py --out ../golden/tune                        write
  python gradients.py --check ../golden/tune MK_GRADS [--seeds N]  make them again and compare; then MK_GRADS (tests/gen/mk_grads.c)
                                                                  on the goldens and on N random shapes of each architecture

Two documents in one batch, some rows of each with a label.  Adapters are random, B not zero.  Keys are PEFT's, without what the class adds.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

import adapters
import goldens
import miniatures
import reference
from exact import GAP_MIN

LOSS_MAX, OFF_MAX, COSINE_MIN = 5e-5, 3e-4, 0.99999
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def rows_of(ids):
    """(token, position, document, label): of the first two thirds most rows of the second half are targets, of the rest a few."""
    cut = 2 * len(ids) // 3
    out = []
    for doc, part in enumerate((ids[:cut], [2] + ids[cut:])):
        for i, t in enumerate(part):
            target = i + 1 < len(part) and (i % 5 and i > cut // 2 if doc == 0 else i % 4 == 1)
            out.append((t, i, doc, part[i + 1] if target else -1))
    return out


def plain_name(name, model):
    """layers.0.self_attn.q_proj.A, experts' tensors by their own names."""
    name = name.split(".model.", 1)[1].removeprefix("model.").replace("language_model.", "").replace(".default.weight", "")
    if ".experts." in name:
        layer, end = name.split(".experts.")
        down = not end.startswith("base_layer.") and model.peft_config["default"].target_parameters != ["experts.gate_up_proj"]
        return f"{layer}.experts.{'down' if down else 'gate_up'}_proj.{end[-1]}"
    return name.replace(".lora_", ".")


def unpacked(name, g, experts):
    """PEFT's fused tensors as [expert, rank, in] and [expert, out, rank]."""
    if ".experts." not in name:
        return g
    if name.endswith(".A"):
        return g.reshape(experts, -1, g.shape[1])
    return g.reshape(g.shape[0], -1, experts).permute(2, 0, 1)


def autograd(s, model, rows):
    """Loss of all targets over their number, and {name: gradient}."""
    named = {n: p for n, p in model.named_parameters() if ".lora_" in n}
    for n, p in model.named_parameters():
        p.requires_grad_(n in named)
        p.grad = None
    targets = sum(r[3] >= 0 for r in rows)
    total = 0
    for doc in sorted({r[2] for r in rows}):
        mine = [r for r in rows if r[2] == doc]
        z = model(input_ids=torch.tensor([[r[0] for r in mine]]), use_cache=False).logits[0]
        total = total + torch.nn.functional.cross_entropy(z, torch.tensor([r[3] for r in mine]), ignore_index=-1, reduction="sum") / targets
    total.backward()
    out = {}
    for n, p in named.items():
        name = plain_name(n, model)
        out[name] = unpacked(name, p.grad, s.experts).contiguous()
    return float(total.detach()), out


def facet(program, model, adapter, rows, threads=1, kind="exact"):
    """The same from Facet; gate and up of an expert are one."""
    text = "".join("%d %d %d %d\n" % r for r in rows)
    raw = subprocess.run([program, model, adapter, str(threads), kind], input=text.encode(), capture_output=True, check=True).stdout
    line, at = raw[:raw.index(b"\n")].split(), raw.index(b"\n") + 1
    loss, parts = float(line[1]), {}
    while at < len(raw):
        end = raw.index(b"\n", at)
        name, expert, which, n, m = raw[at:end].decode().split()
        size = int(n) * int(m)
        g = torch.from_numpy(np.frombuffer(raw, np.float32, size, end + 1).reshape(int(n), int(m)).copy())
        parts.setdefault(f"{name}.{which}", {})[int(expert)] = g
        at = end + 1 + 4 * size
    return loss, {n: p[-1] if -1 in p else torch.stack([p[e] for e in range(len(p))]) for n, p in parts.items()}


def compare(want, got):
    """Worst relative distance and cosine of any tensor, which, and what is missing."""
    off, cosine, worst = 0.0, 1.0, ""
    for n, g in want.items():
        if n not in got:
            continue
        a, b = got[n].double().flatten(), g.double().flatten()
        if torch.equal(a, b):
            continue
        d = float((a - b).norm() / b.norm())
        if not d <= off:
            off, worst = d, n
        cosine = min(cosine, float(a @ b / (a.norm() * b.norm())))
    return off, cosine, worst, sorted(want.keys() ^ got.keys())


def random_settings(s):
    """Everything that PEFT can adapt in this architecture."""
    modules = adapters.ATTENTION + adapters.MLP + (adapters.PLE if s.ple else []) + (["proj"] if s.experts else [])
    return dict(r=3, lora_alpha=4, target_modules=modules, **(dict(target_parameters=adapters.EXPERTS) if s.experts else {}))


def shapes(kind, count):
    """Random shapes whose adapted model is no noise: float64 routes as float32 does, and agrees."""
    seed = 0
    while count:
        s = miniatures.random_spec(kind, seed)
        seed += 1
        assert seed < 40, "most miniatures are chaotic"
        model = adapters.adapted(s, "text", torch.float32, random_settings(s))
        ids = miniatures.prompt(s)
        y, taps = reference.logits_taps(model.base_model.model, ids)
        y64, taps64 = reference.logits_taps(reference.double(model.base_model.model), ids)
        if float((y.double() - y64).abs().max()) > goldens.ERROR_MAX or (s.experts and reference.routing_gap(taps64, s.top_k) < GAP_MIN):
            continue
        count -= 1
        yield s, model, ids


def verdict(title, loss, want, got_loss, got):
    off, cosine, worst, odd = compare(want, got)
    good = abs(loss - got_loss) <= LOSS_MAX and off <= OFF_MAX and cosine > COSINE_MIN and not odd
    print(f"| {title} | {len(want)} | {abs(loss - got_loss):.1e} | {off:.1e} | {worst} | {1 - cosine:.1e} | {'agrees' if good else 'DIFFERS ' + str(odd)} |", flush=True)
    return good


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--check", nargs=2)
    ap.add_argument("--seeds", type=int, default=3)
    a = ap.parse_args()
    good = True
    if a.check:
        print("| model | tensors | loss off | worst tensor off | which | 1 - cosine | |\n|---|---|---|---|---|---|---|")
    for name, (cls, dtype, settings) in adapters.CASES.items():
        s = adapters.spec_of(name)
        model = adapters.reload(s, cls, adapters.adapted(s, cls, dtype, settings), dtype)
        rows = rows_of(miniatures.prompt(s))
        loss, grads = autograd(s, model, rows)
        tensors = {**grads, "rows": torch.tensor(rows, dtype=torch.int32), "loss": torch.tensor([loss])}
        if a.out:
            os.makedirs(a.out, exist_ok=True)
            path = os.path.join(a.out, name + ".safetensors")
            save_file(tensors, path)
            os.chmod(path, 0o644)
            print(f"{name:10s} loss {loss:.4f}, {len(grads)} tensors")
        if a.check:
            old = load_file(os.path.join(a.check[0], name + ".safetensors"))
            good &= torch.equal(old.pop("rows"), tensors["rows"])
            good &= verdict(f"{name}, golden", loss, grads, float(old.pop("loss")), old)
            folder = os.path.join(ROOT, "tests/golden", name, "model")
            good &= verdict(name, loss, grads, *facet(a.check[1], folder, os.path.join(ROOT, "tests/golden/lora", name, "adapter"), rows))
    for kind in miniatures.KINDS if a.check else []:
        for s, model, ids in shapes(kind, a.seeds):
            loss, grads = autograd(s, model, rows_of(ids))
            with tempfile.TemporaryDirectory() as tmp:
                miniatures.save(s, miniatures.build(s), os.path.join(tmp, "model"))
                adapters.save(model, os.path.join(tmp, "adapter"), torch.float32)
                good &= verdict(s.name, loss, grads, *facet(a.check[1], os.path.join(tmp, "model"), os.path.join(tmp, "adapter"), rows_of(ids), threads=2))
    return 0 if good else 1


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
