"""Makes the committed goldens (tests/golden), or with --check makes them again and compares.

  python goldens.py --out ../golden        write
  python goldens.py --check ../golden      compare: files of weights byte for byte, tokens exactly, floats within noise
"""
import argparse
import datetime
import filecmp
import json
import os
import shutil
import sys
import tempfile

import torch
import transformers
from safetensors.torch import load_file, save_file

import miniatures
import reference

GREEDY = 64
ERROR_MAX = 1e-3        # of the reference's own float32 against float64
BOUND_MAX = 3e-3        # on any logit of the exact path


def bound_of(error):
    return min(BOUND_MAX, 4 * error)


def check_facts(name, f, distinct):
    """A golden must be worth comparing with: neither trivial nor chaotic."""
    ok = {
        "float32 noise under 1e-3": f["error"] < ERROR_MAX,
        "logits reach the softcap": f["max_logit"] > 24,
        "output neither flat nor certain": 0.5 < f["entropy"] < 2.5,
        "attention far from uniform": f["keys_used"] < 0.7,
        "greedy text varies": distinct >= 16,
        "routing far from uniform": f.get("router_max_share", 1) > 0.25,
        "most experts are used": f.get("experts_seen", 1) > 0.8,
        "no routing tie": f.get("routing_gap", 1) > 1e-4,
    }
    bad = [k for k, v in ok.items() if not v]
    if bad:
        raise SystemExit(f"{name}: not a good golden: {bad}: {f}")


def tensors_of(ids, y, taps, rows, text, margin):
    out = {
        "tokens": torch.tensor(ids, dtype=torch.int32), "logits": y.float().contiguous(),
        "greedy": torch.tensor(text, dtype=torch.int32), "greedy_margin": torch.tensor(margin),
        "tap_rows": torch.tensor(rows, dtype=torch.int32)}
    for (layer, name), t in taps.items():
        out[f"tap.{layer}.{name}"] = t.float().contiguous()
    return out


def write_json(spec, facts, folder, command):
    with open(os.path.join(folder, "golden.json"), "w") as f:
        json.dump({
            "name": spec.name, "kind": spec.kind, "seed": spec.seed, "bound": bound_of(facts["error"]),
            "float32_error": facts["error"], "facts": {k: round(v, 6) for k, v in facts.items()},
            "reference": f"transformers {transformers.__version__}, torch {torch.__version__}, float32, eager",
            "command": command, "date": str(datetime.date.today())}, f, indent=2)
        f.write("\n")


def make(spec, folder):
    model, ids = miniatures.build(spec), miniatures.prompt(spec)
    y, taps, rows, facts = reference.examine(spec, model, ids)
    text, margin = reference.greedy(model, ids, GREEDY)
    check_facts(spec.name, facts, len(set(text)))
    shutil.rmtree(folder, ignore_errors=True)
    miniatures.save(spec, model, os.path.join(folder, "model"))
    out = tensors_of(ids, y, taps, rows, text, margin)
    out["mean_state"] = reference.mean_state(model, ids).float().contiguous()
    save_file(out, os.path.join(folder, "expect.safetensors"))
    write_json(spec, facts, folder, "python tests/oracle/goldens.py --out tests/golden")
    return facts


def compare(old, new):
    """Differences between a committed golden and one made now, as sentences."""
    bad = []
    names = sorted(os.listdir(os.path.join(new, "model")))
    if names != sorted(os.listdir(os.path.join(old, "model"))):
        bad.append("other files in model/")
    else:
        same, diff, err = filecmp.cmpfiles(os.path.join(old, "model"), os.path.join(new, "model"), names, shallow=False)
        bad += [f"model/{n} differs" for n in diff + err]
    return bad + compare_expected(old, new)


def compare_expected(old, new):
    """Ids must be the same, floats within the golden's own bound."""
    bad = []
    a, b = (load_file(os.path.join(d, "expect.safetensors")) for d in (old, new))
    bound = json.load(open(os.path.join(old, "golden.json")))["bound"]
    if a.keys() != b.keys():
        return ["other expected tensors"]
    for k in sorted(a):
        if a[k].dtype == torch.int32:
            if not torch.equal(a[k], b[k]):
                bad.append(f"{k}: other ids")
            continue
        off, allowed = float((a[k] - b[k]).abs().max()), bound * (2 if k == "greedy_margin" else 1)
        if off > allowed:
            bad.append(f"{k}: off by {off:.2g}, bound {allowed:.2g}")
    return bad


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--check")
    ap.add_argument("--only", default="")
    a = ap.parse_args()
    specs = [s for s in miniatures.GOLDENS if not a.only or s.name in a.only.split(",")]
    failed = 0
    for s in specs:
        if a.out:
            f = make(s, os.path.join(a.out, s.name))
            print(f"{s.name:10s} error {f['error']:.2e}  bound {bound_of(f['error']):.2e}  "
                  f"max logit {f['max_logit']:.1f}  entropy {f['entropy']:.2f}")
        if a.check:
            with tempfile.TemporaryDirectory() as tmp:
                make(s, os.path.join(tmp, s.name))
                bad = compare(os.path.join(a.check, s.name), os.path.join(tmp, s.name))
            print(f"{s.name:10s} {'the same' if not bad else 'DIFFERS: ' + '; '.join(bad)}")
            failed += bool(bad)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
