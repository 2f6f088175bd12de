"""An adapter for the bundled miniature, as PEFT would save one: mini_adapter.py FOLDER SEED.  Random terms at the dense MLP's last matrix."""
import json
import os
import random
import struct
import sys

folder, r = sys.argv[1], random.Random(int(sys.argv[2]))
LAYERS, H, F, RANK = 6, 256, 192, 2
head, data = {}, b""
for layer in range(LAYERS):
    for letter, shape in (("A", [RANK, F]), ("B", [H, RANK])):
        numbers = struct.pack(f"<{shape[0] * shape[1]}f", *(r.uniform(-0.2, 0.2) for _ in range(shape[0] * shape[1])))
        head[f"base_model.model.model.layers.{layer}.mlp.down_proj.lora_{letter}.weight"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(numbers)]}
        data += numbers
os.makedirs(folder)
with open(f"{folder}/adapter_config.json", "w") as f:
    json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": RANK, "lora_alpha": RANK, "bias": "none", "target_modules": ["down_proj"]}, f)
text = json.dumps(head).encode()
with open(f"{folder}/adapter_model.safetensors", "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data)
