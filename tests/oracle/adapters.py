"""Adapters that PEFT makes for the miniatures, and what the reference answers with them (tests/golden/lora).

  python adapters.py --out ../golden/lora        write
  python adapters.py --check ../golden/lora      make them again and compare; ./facet with the adapter of either class; and what
                                                 Facet writes of it, for either class, in PEFT

Every adapter is random, A and B alike, experts with different values, ranks of 2 and more: a wrong order of anything shows.
"""
import argparse
import copy
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import peft
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers.models.gemma4.configuration_gemma4 import Gemma4Config
from transformers.models.gemma4.modeling_gemma4 import Gemma4ForConditionalGeneration
from transformers.models.gemma4_unified.configuration_gemma4_unified import Gemma4UnifiedConfig
from transformers.models.gemma4_unified.modeling_gemma4_unified import Gemma4UnifiedForConditionalGeneration

import facet
import miniatures
import reference
from goldens import BOUND_MAX, bound_of

ROWS = 6                # of the golden's prompt, spread over it
EFFECT_MIN = 100        # times the bound: an adapter that is not applied must not pass
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
MLP = ["gate_proj", "up_proj", "down_proj"]
PLE = ["per_layer_input_gate", "per_layer_projection", "per_layer_model_projection"]
EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]

# golden -> class, stored type, and what LoraConfig gets
CASES = {
    "e2b": ("text", torch.float32, dict(r=2, lora_alpha=3, target_modules=ATTENTION + MLP + PLE,
                                        alpha_pattern={r"layers\.[13]\..*_proj": 5, "down_proj": 2})),
    "e4b": ("multimodal", torch.bfloat16, dict(r=3, lora_alpha=4, use_rslora=True, target_modules=ATTENTION + MLP + PLE)),
    "12b": ("multimodal", torch.float16, dict(r=2, lora_alpha=2, target_modules=r".*language_model\..*\.(q|k|o|gate|up|down)_proj",
                                              rank_pattern={r"layers\.2\.self_attn\.q_proj": 5})),
    "26b": ("text", torch.bfloat16, dict(r=2, lora_alpha=3, target_modules=ATTENTION + MLP + ["proj"], target_parameters=EXPERTS,
                                         rank_pattern={"experts.gate_up_proj": 3}, alpha_pattern={r"experts\.down_proj": 1.5})),
    "26b-odd": ("multimodal", torch.float32, dict(r=2, lora_alpha=2, target_modules=[], target_parameters=EXPERTS[1:])),
    "31b": ("text", torch.float32, dict(r=2, lora_alpha=4, target_modules=ATTENTION + MLP)),
}


def spec_of(name):
    return next(s for s in miniatures.GOLDENS if s.name == name)


def base_model(s, cls):
    """The miniature as one of its two classes."""
    text = miniatures.build(s)
    if cls == "text":
        return text
    config, kind = (Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration) if s.kind == "12b" else (Gemma4Config, Gemma4ForConditionalGeneration)
    c = config(text_config=miniatures.text_config(s), vision_config=None, audio_config=None)
    c._attn_implementation = "eager"
    model = kind(c).eval().float()
    model.config.text_config._experts_implementation = "eager"
    model.model.language_model.load_state_dict(text.model.state_dict())
    miniatures.fix_embed_scale(model)
    model.tie_weights()
    return model


def adapted(s, cls, dtype, settings):
    """The class with a random adapter; the same values in both classes."""
    settings = dict(settings)
    if cls == "text" and isinstance(settings["target_modules"], str):
        settings["target_modules"] = settings["target_modules"].replace(r".*language_model\.", ".*")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(base_model(s, cls), peft.LoraConfig(task_type="CAUSAL_LM", **settings)).eval()
    named = {n.replace(".language_model.", "."): p for n, p in model.named_parameters() if ".lora_" in n}
    rng = np.random.default_rng([s.seed, 1234])
    with torch.no_grad():
        for name in sorted(named):
            p = named[name]
            std = 0.4 if ".lora_B." in name else p.shape[1] ** -0.5
            p.copy_(torch.from_numpy(rng.standard_normal(tuple(p.shape), np.float32) * np.float32(std)).to(dtype).float())
    return model


def reload(s, cls, model, dtype):
    """As PEFT reads it back: what counts is the file.  (It sorts the patterns, and the first that matches wins.)"""
    with tempfile.TemporaryDirectory() as tmp:
        save(model, tmp, dtype)
        return peft.PeftModel.from_pretrained(base_model(s, cls), tmp).eval()


def save(model, folder, dtype):
    """As PEFT saves, in the case's number type, without what changes from run to run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(folder)
    path = os.path.join(folder, "adapter_model.safetensors")
    save_file({k: v.to(dtype).contiguous() for k, v in load_file(path).items()}, path, {"format": "pt"})
    config = os.path.join(folder, "adapter_config.json")
    c = json.load(open(config))
    if isinstance(c["target_modules"], list):
        c["target_modules"].sort()
    json.dump(c, open(config, "w"), indent=2)
    for f in os.listdir(folder):
        if f not in ("adapter_config.json", "adapter_model.safetensors"):
            os.remove(os.path.join(folder, f))
        else:
            os.chmod(os.path.join(folder, f), 0o644)


@torch.no_grad()
def logits(model, ids):
    return model(input_ids=torch.tensor([ids]), use_cache=False).logits[0]


def examine(name):
    """The adapted model, and logits that are worth comparing with."""
    cls, dtype, settings = CASES[name]
    s = spec_of(name)
    ids = miniatures.prompt(s)
    model = reload(s, cls, adapted(s, cls, dtype, settings), dtype)
    y = logits(model, ids)
    double = copy.deepcopy(model).double()
    double.base_model.model.tie_weights()
    error = float((y.double() - logits(double, ids)).abs().max())
    with model.disable_adapter():
        effect = float((y - logits(model, ids)).abs().max())
    swapped = "text" if cls == "multimodal" else "multimodal"
    other = reload(s, swapped, adapted(s, swapped, dtype, settings), dtype)
    classes = float((y - logits(other, ids)).abs().max())
    bound = bound_of(error)
    if error > BOUND_MAX / 4 or effect < EFFECT_MIN * bound or classes > bound:
        raise SystemExit(f"{name}: not a good golden: error {error}, effect {effect}, between the classes {classes}")
    rows = np.linspace(0, len(ids) - 1, ROWS).round().astype(int).tolist()
    facts = {"model": name, "class": cls, "bound": bound, "float32_error": error, "effect": effect,
             "reference": f"peft {peft.__version__}, transformers {transformers.__version__}, torch {torch.__version__}, float32, eager",
             "command": "python tests/oracle/adapters.py --out tests/golden/lora", "date": str(datetime.date.today())}
    return model, other, dtype, rows, y, facts


def make(name, folder):
    model, other, dtype, rows, y, facts = examine(name)
    shutil.rmtree(folder, ignore_errors=True)
    save(model, os.path.join(folder, "adapter"), dtype)
    save_file({"rows": torch.tensor(rows, dtype=torch.int32), "logits": y[rows].float().contiguous()}, os.path.join(folder, "expect.safetensors"))
    with open(os.path.join(folder, "golden.json"), "w") as f:
        json.dump(facts, f, indent=2)
        f.write("\n")
    return other, dtype, y, facts


def written(name, adapter):
    """The same adapter as ./facet's writer has it, of either class, in PEFT."""
    s, ids = spec_of(name), miniatures.prompt(spec_of(name))
    for cls in ("text", "multimodal"):
        with tempfile.TemporaryDirectory() as tmp:
            folder = os.path.join(tmp, "adapter")
            subprocess.run([os.path.join(facet.ROOT, "build/release/tests/gen/mk_adapter"), os.path.join(facet.ROOT, "tests/golden", name, "model"), adapter, cls, folder],
                           check=True)
            with warnings.catch_warnings():
                warnings.simplefilter("error", UserWarning)          # keys that are missing or left over are only warned of
                model = peft.PeftModel.from_pretrained(base_model(s, cls), folder).eval()
            yield cls, logits(model, ids)


def differences(old, new, bound):
    a, b = (load_file(os.path.join(d, "adapter", "adapter_model.safetensors")) for d in (old, new))
    bad = [] if a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) else ["other adapter"]
    a, b = (load_file(os.path.join(d, "expect.safetensors"))["logits"] for d in (old, new))
    off = float((a - b).abs().max())
    return bad + ([f"logits off by {off:.2g}"] if off > bound else [])


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out")
    ap.add_argument("--check")
    a = ap.parse_args()
    failed = 0
    for name in CASES:
        if a.out:
            f = make(name, os.path.join(a.out, name))[3]
            print(f"{name:10s} error {f['float32_error']:.2e}  bound {f['bound']:.2e}  effect {f['effect']:.2f}")
        if a.check:
            with tempfile.TemporaryDirectory() as tmp:
                new = os.path.join(tmp, name)
                other, dtype, y, f = make(name, new)
                bad = differences(os.path.join(a.check, name), new, f["bound"])
                save(other, os.path.join(tmp, "other"), dtype)
                ids, off = miniatures.prompt(spec_of(name)), []
                for adapter in (os.path.join(new, "adapter"), os.path.join(tmp, "other")):
                    z = facet.logits(os.path.join(facet.ROOT, "tests/golden", name, "model"), ids, "--adapter", adapter)
                    off.append(float((torch.from_numpy(z) - y).abs().max()))
                bad += [f"facet off by {o:.2g}" for o in off if o > f["bound"]]
                back = {cls: float((z - y).abs().max()) for cls, z in written(name, os.path.join(new, "adapter"))}
                bad += [f"written for {cls}: PEFT off by {o:.2g}" for cls, o in back.items() if o > f["bound"]]
            print(f"{name:10s} {'the same' if not bad else 'DIFFERS: ' + '; '.join(bad)}; facet off by {off[0]:.2e} and {off[1]:.2e}, bound {f['bound']:.2e}; "
                  f"written by Facet, PEFT off by {back['text']:.2e} (text) and {back['multimodal']:.2e} (multimodal)")
            failed += bool(bad)
    return 1 if failed else 0


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("FACET_ORACLE_THREADS", "1")))
    sys.exit(main())
