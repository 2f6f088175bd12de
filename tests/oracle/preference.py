"""Fifty steps of TRL's DPOTrainer on the bundled miniature, which `facet tune --method dpo` must follow (tests/golden/dpo).

  python preference.py --out ../golden/dpo        write; ./facet must be built, and trl==1.16.0, datasets and accelerate be there

All pairs are in every step, so that their order does not matter.  start/ is the adapter that both begin with, in PEFT's own form.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile

import peft
import torch
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

import from_gguf

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODEL = os.path.join(ROOT, "models", "facet-mini.gguf")
STEPS, RATE, BETA, BOS, EOS = 50, 3e-4, 0.2, "<bos>", "<eos>"
PAIRS = [("The lamp is", " green and old.", " a very long river"), ("One and two are", " three.", " seven or eight."),
         ("Count:", " 1 2 3 4", " 4 3"), ("A stone in the", " sea.", " sky, they say, is a bird.")]


def ids(text):
    out = subprocess.run([os.path.join(ROOT, "facet"), "tokenize", "-m", MODEL, "--ids", "--special"], input=text.encode(), capture_output=True, check=True).stdout
    return [int(x) for x in out.split()]


def rows():
    start = ids(BOS)[:1]
    for prompt, chosen, rejected in PAIRS:
        p = ids(prompt)
        yield {"prompt_ids": p if p[:1] == start else start + p, "chosen_ids": ids(chosen + EOS), "rejected_ids": ids(rejected + EOS)}


def tokenizer():
    """Nothing is tokenized by it: the trainer wants one for padding."""
    t = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"<pad>": 0, EOS: 1}, unk_token=EOS)))
    t.pad_token, t.eos_token = "<pad>", EOS
    return t


class Trainer(trl.DPOTrainer):
    def _prepare_dataset(self, dataset, *rest):
        return dataset


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    torch.manual_seed(7)
    model = peft.get_peft_model(from_gguf.load(from_gguf.spec_of(MODEL), MODEL), peft.LoraConfig(r=2, lora_alpha=4, target_modules=["q_proj", "o_proj", "down_proj"]))
    shutil.rmtree(a.out, ignore_errors=True)
    model.save_pretrained(os.path.join(a.out, "start"))
    os.remove(os.path.join(a.out, "start", "README.md"))
    with open(os.path.join(a.out, "pairs.jsonl"), "w") as f:
        for prompt, chosen, rejected in PAIRS:
            f.write(json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}) + "\n")
    with tempfile.TemporaryDirectory() as d:
        config = trl.DPOConfig(output_dir=d, max_steps=STEPS, per_device_train_batch_size=len(PAIRS), learning_rate=RATE, beta=BETA, lr_scheduler_type="constant", max_grad_norm=1.0,
                               logging_steps=1, report_to=[], use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no", disable_tqdm=True, max_length=None, seed=7)
        trainer = Trainer(model=model, args=config, train_dataset=Dataset.from_list(list(rows())), processing_class=tokenizer())
        trainer.train()
        lines = [x for x in trainer.state.log_history if "loss" in x]
    with open(os.path.join(a.out, "curve.txt"), "w") as f:
        f.write(f"# trl {trl.__version__}, peft {peft.__version__}, torch {torch.__version__}, float32, rate {RATE}, beta {BETA}\n# loss, rewards of the chosen and the rejected answer, norm of the gradient\n")
        for x in lines:
            f.write(" ".join(repr(x[k]) for k in ("loss", "rewards/chosen", "rewards/rejected", "grad_norm")) + "\n")
    print(f"{len(lines)} steps, loss {lines[0]['loss']:.4f} to {lines[-1]['loss']:.4f}, margin {lines[-1]['rewards/margins']:.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
