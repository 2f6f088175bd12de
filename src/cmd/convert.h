/* What the reports of quantize and merge share: names of tensors and types. */
#ifndef FC_CMD_CONVERT_H
#define FC_CMD_CONVERT_H

#include "base/json.h"
#include "cmd/opt.h"
#include "quant/quant.h"

#define CONVERT_TYPES "f32|f16|bf16|q8_0|q6_k|q5_k|q5_1|q5_0|q4_k|q4_1|q4_0|mxfp4"

/* The type that an option names; DTYPE_COUNT when it is not set. */
dtype convert_type(const args *a, const char *option);
/* "attn_q": the tensors of one weight_place in all layers; WEIGHT_PLACES: "(others)". */
const char *convert_kind(int place, char out[WEIGHT_NAME_CAP]);
/* Of a set of types, bit 1 << dtype each: "q4_0, q6_K". */
const char *convert_types(uint64_t mask, char *out, size_t cap);
json_t *convert_types_json(uint64_t mask);
/* Prints o, which is taken over; NULL: E_NOMEM. */
status convert_print(json_t *o, err *e);

#endif
