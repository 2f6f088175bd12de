#include "model/gemma_config.h"

static int64_t attention(const gemma_config *c, int32_t layer)
{
    const gemma_layer_config *l = &c->layers[layer];
    int64_t H = c->hidden, d = l->d, n = 2 * l->nq * d * H + d + 2 * H;   /* Q, O, their norms */
    if (layer < c->kv_layers) n += (l->k_eq_v ? 1 : 2) * l->nkv * d * H + d;
    return n;
}

static int64_t feed_forward(const gemma_config *c, int32_t layer)
{
    int64_t H = c->hidden, E = c->expert_count;
    int64_t n = 3 * c->layers[layer].ff * H + 2 * H;
    return E ? n + E * H + E + 4 * H : n;   /* router, its two scales, three norms */
}

void gemma_config_parameters(const gemma_config *c, gemma_parameters *out)
{
    int64_t H = c->hidden, P = c->ple, L = c->layer_count, V = c->vocab, E = c->expert_count;
    int64_t of_expert = 3 * (int64_t)c->expert_ff * H * L;
    *out = (gemma_parameters){ .embed = V * H * (c->untied ? 2 : 1), .ple_embed = V * P * L, .experts = E * of_expert };
    out->total = out->embed + out->ple_embed + out->experts + H;
    if (P) out->total += P * L * H + P + L * (2 * P * H + H);
    for (int32_t i = 0; i < L; i++) out->total += attention(c, i) + feed_forward(c, i) + 1;   /* and the layer's scalar */
    out->active = out->total - out->ple_embed - (E - c->expert_used) * of_expert;
    out->active_inner = out->active - out->embed;
}
