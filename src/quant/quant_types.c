/* Which type each tensor gets (file-formats section 5.5). */
#include "base/bits.h"
#include "quant/quant_int.h"

const dtype quant_types_written[] = { DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_Q8_0, DTYPE_Q4_0, DTYPE_Q4_1, DTYPE_Q5_0, DTYPE_Q5_1,
                                      DTYPE_Q4_K, DTYPE_Q5_K, DTYPE_Q6_K, DTYPE_MXFP4, DTYPE_COUNT };

bool quant_types_is_written(dtype t)
{
    for (const dtype *w = quant_types_written; *w != DTYPE_COUNT; w++)
        if (*w == t) return true;
    return false;
}

uint32_t quant_types_file(dtype t)
{
    static const struct { dtype type; uint32_t number; } numbers[] = {
        { DTYPE_F32, 0 }, { DTYPE_F16, 1 }, { DTYPE_Q4_0, 2 }, { DTYPE_Q4_1, 3 }, { DTYPE_Q8_0, 7 }, { DTYPE_Q5_0, 8 }, { DTYPE_Q5_1, 9 },
        { DTYPE_Q4_K, 14 }, { DTYPE_Q5_K, 16 }, { DTYPE_Q6_K, 18 }, { DTYPE_BF16, 32 }, { DTYPE_MXFP4, 38 } };
    enum { GUESSED = 1024 };
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        if (numbers[i].type == t) return numbers[i].number;
    return GUESSED;
}

static bool is_float(dtype t) { return t == DTYPE_F32 || t == DTYPE_F16 || t == DTYPE_BF16; }

/* What takes the place of a type whose blocks of 256 do not fit, as llama.cpp has it; where blocks of 32 do not either, 16 bits. */
static dtype fitting(dtype t, dtype from, int64_t cols)
{
    if (cols % dtype_of(t)->block == 0) return t;
    t = t == DTYPE_Q4_K ? DTYPE_Q5_0 : t == DTYPE_Q5_K ? DTYPE_Q5_1 : t == DTYPE_Q6_K ? DTYPE_Q8_0 : t;
    return cols % dtype_of(t)->block == 0 ? t : from == DTYPE_BF16 ? DTYPE_BF16 : DTYPE_F16;
}

/* Tables of which rows are read as they are, and the head, suffer more than the rest: six bits at least. */
static dtype table_type(dtype type, dtype asked)
{
    if (asked != DTYPE_COUNT) return asked;
    return is_float(type) || type == DTYPE_Q8_0 ? type : type == DTYPE_MXFP4 ? DTYPE_Q8_0 : DTYPE_Q6_K;
}

static dtype wanted_type(const quant_item *t, const quant_opts *o)
{
    switch (t->place) {
    case WEIGHT_PLACES: return t->from;
    case WEIGHT_EMBED: case WEIGHT_HEAD: return table_type(o->type, o->embedding);
    case WEIGHT_PLE_EMBED: return table_type(o->type, o->ple);
    case WEIGHT_ROUTER: return DTYPE_F32;          /* small, and it decides which experts run */
    case WEIGHT_PLE_MODEL_PROJ: return is_float(o->type) ? o->type : t->factors ? DTYPE_F32 : t->from;      /* the root of all per-layer inputs */
    default: return quant_rows(t) == 1 || weight_names_part(t->place) == WEIGHT_PART_NORMS ? DTYPE_F32 : o->type;
    }
}

void quant_types_choose(quant_item *t, const quant_opts *o)
{
    t->wanted = wanted_type(t, o);
    t->to = fitting(t->wanted, t->from, t->ne[0]);
}
