"""versions.py requirements.txt: prints the installed versions; exits 1 when one is not the required one."""
import importlib.metadata
import sys

wanted = [line.strip().split("==") for line in open(sys.argv[1]) if "==" in line]
try:
    found = [(name, importlib.metadata.version(name).split("+")[0]) for name, _ in wanted]
except importlib.metadata.PackageNotFoundError as e:
    sys.exit(f"{e} is not installed")
print(", ".join(f"{n} {v}" for n, v in found))
sys.exit(0 if all(v == w for (_, v), (_, w) in zip(found, wanted)) else 1)
