/* Options that several commands share, typed once so that they cannot drift. */
#include "cmd/opt.h"

const opt opt_model[] = {
    { "model", 'm', OPT_TEXT, .argument = "FILE", .unset = "the bundled miniature", .group = "Model",
      .help = "GGUF file, Hugging Face folder, or a name that \"facet list\" shows." },
    { 0 } };

const opt opt_machine[] = {
    { "threads", 't', OPT_INT, .argument = "N", .unset = "one per core", .min = 1, .max = 256, .group = "Machine",
      .help = "Threads to compute with; the text does not depend on it." },
    { "isa", 0, OPT_TEXT, .argument = "NAME", .unset = "the best that this machine has, or $FACET_ISA", .group = "Machine",
      .help = "Highest instruction set to use: ref, avx2, avxvnni, avx512, amx, neon or i8mm. \"facet version\" says which are there." },
    { "exact", 0, OPT_FLAG, .group = "Machine", .help = "Reference arithmetic in 32-bit floats: slow, for comparing." },
    { 0 } };

#define OPT_LORA_LAYOUT \
    { "lora-b-layout", 0, OPT_CHOICE, .argument = "rank|expert", .unset = "as the adapter says, else rank", .group = "Model", \
      .help = "Order of fused experts in PEFT folders: rank is PEFT's, expert Unsloth's until September 2026." }

const opt opt_adapter[] = {
    { "adapter", 0, OPT_TEXT, .argument = "PATH[=SCALE]", .many = true, .group = "Model",
      .help = "Answer with low-rank terms: a folder as PEFT saves it, or a GGUF adapter; may be repeated, they add up." },
    OPT_LORA_LAYOUT,
    { 0 } };

const opt opt_adapters[] = {
    { "adapter", 0, OPT_TEXT, .argument = "NAME=PATH[=SCALE]", .many = true, .group = "Model",
      .help = "Low-rank terms that a request gets with \"model\": \"NAME\": a PEFT folder or a GGUF adapter; may be repeated, those of one name add up." },
    OPT_LORA_LAYOUT,
    { 0 } };

const opt opt_context[] = {
    { "ctx", 'c', OPT_INT, .argument = "N", .unset = "the model's, at most 8192", .min = 1, .max = 1 << 24, .group = "Context",
      .help = "Most tokens of prompt and answer together." },
    { "invariant", 0, OPT_FLAG, .group = "Machine",
      .help = "The same bits however many tokens and people share a step: long prompts take about twice as long on processors with AMX, nothing changes elsewhere." },
    { "kv", 0, OPT_CHOICE, .argument = "f32|f16|bf16|q8_0", .unset = "f16, or f32 with --exact", .group = "Context",
      .help = "Number type of the attention cache." },
    { "chunk", 0, OPT_INT, .argument = "N", .unset = "512", .min = 1, .max = 65536, .group = "Context",
      .help = "Most tokens of one step; long prompts run in chunks of it." },
    { 0 } };

const opt opt_disk[] = {
    { "cache-dir", 0, OPT_TEXT, .argument = "DIR", .group = "Context",
      .help = "Keep what is remembered of prompts and answers in this folder, too, for the next start; it is made when it is not there." },
    { "cache-disk", 0, OPT_BYTES, .argument = "SIZE", .value = "8G", .group = "Context", .help = "Most bytes in that folder." },
    { 0 } };

const opt opt_sampling[] = {
    { "tokens", 'n', OPT_INT, .argument = "N", .unset = "until the model ends or the context is full", .min = 1, .max = 1 << 24, .group = "Sampling",
      .help = "Most tokens of the answer, thoughts included." },
    { "temp", 'T', OPT_REAL, .argument = "X", .unset = "from the file, 1.0", .min = 0, .max = 100, .group = "Sampling",
      .help = "Temperature; 0 always takes the likeliest token." },
    { "top-k", 0, OPT_INT, .argument = "N", .unset = "from the file, 64", .min = 0, .max = 1 << 24, .group = "Sampling",
      .help = "Keep the N likeliest tokens; 0 keeps all." },
    { "top-p", 0, OPT_REAL, .argument = "X", .unset = "from the file, 0.95", .min = 0, .max = 1, .group = "Sampling",
      .help = "Keep the likeliest tokens that together have this probability." },
    { "min-p", 0, OPT_REAL, .argument = "X", .value = "0", .min = 0, .max = 1, .group = "Sampling",
      .help = "Drop tokens less likely than this share of the likeliest." },
    { "repeat-penalty", 0, OPT_REAL, .argument = "X", .value = "1", .min = 0.01, .max = 100, .group = "Sampling",
      .help = "Divide the score of tokens that occurred before by this." },
    { "presence-penalty", 0, OPT_REAL, .argument = "X", .value = "0", .min = -100, .max = 100, .group = "Sampling",
      .help = "Subtract this from the score of tokens that the answer has used." },
    { "frequency-penalty", 0, OPT_REAL, .argument = "X", .value = "0", .min = -100, .max = 100, .group = "Sampling",
      .help = "Subtract this for each time that the answer has used a token." },
    { "bias", 0, OPT_TEXT, .argument = "ID=X", .many = true, .group = "Sampling",
      .help = "Add X to the score of a token; may be repeated." },
    { "seed", 's', OPT_INT, .argument = "N", .unset = "a fresh one", .min = 0, .max = 9007199254740992.0, .group = "Sampling",
      .help = "Same seed, same text, whatever the number of threads." },
    { "stop", 0, OPT_TEXT, .argument = "TEXT", .many = true, .group = "Sampling",
      .help = "End the answer before this text; may be repeated." },
    { "ignore-end", 0, OPT_FLAG, .group = "Sampling", .help = "Never draw the tokens that end a turn: go on until the limit." },
    { 0 } };

const opt opt_output[] = {
    { "quiet", 'q', OPT_FLAG, .group = "Output", .help = "No progress and no figures on standard error." },
    { "verbose", 'v', OPT_FLAG, .group = "Output", .help = "Say more on standard error." },
    { 0 } };
