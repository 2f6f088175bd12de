#include "num/fit.h"

#include <string.h>

static const float tiny = 1e-15f;       /* a group whose maximum is smaller is zero */

float fit_mean_square(int64_t n, const float *x)
{
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += x[i] * x[i];
    return sum / (float)n;
}

void fit_weights(int n, const float *x, const float *importance, float sigma2, float *w)
{
    for (int i = 0; i < n; i++) w[i] = importance[i] * sqrtf(sigma2 + x[i] * x[i]);
}

float fit_symmetric(int n, int N, const float *x, const float *w, uint8_t *code)
{
    float top = 0, peak = 0, scale = 0, best = 0;
    for (int i = 0; i < n; i++)
        if (fabsf(x[i]) > top) {
            top = fabsf(x[i]);
            peak = x[i];
        }
    for (int i = 0; i < n; i++) code[i] = 0;
    if (top < tiny) return 0;
    for (int k = 0; k < 19; k++) {
        int step = k == 0 ? 0 : k <= 9 ? k - 10 : k - 9;        /* 0, -9 ... -1, 1 ... 9 */
        float inverse = -((float)N + 0.1f * (float)step) / peak, xl = 0, ll = 0;
        uint8_t now[FIT_MAX];
        for (int i = 0; i < n; i++) {
            int l = fit_round(inverse * x[i], -N, N - 1);
            float weight = w ? w[i] : x[i] * x[i];
            now[i] = (uint8_t)(l + N);
            xl += weight * x[i] * (float)l;
            ll += weight * (float)l * (float)l;
        }
        if (k > 0 && !(ll > 0 && xl * xl > best * ll)) continue;
        memcpy(code, now, (size_t)n);
        scale = ll != 0 ? xl / ll : 0;
        best = scale * xl;
    }
    return scale;
}

/* Sum of w * (scale * code + min - x)^2. */
static float affine_error(int n, const float *x, const float *w, const uint8_t *code, float scale, float min)
{
    float sum = 0;
    for (int i = 0; i < n; i++) {
        float diff = scale * (float)code[i] + min - x[i];
        sum += w[i] * (diff * diff);
    }
    return sum;
}

float fit_affine(int n, int N, const float *x, const float *w, float r, float delta, int K, uint8_t *code, float *min)
{
    float low = x[0], high = x[0], sw = w[0], sx = sw * x[0];
    for (int i = 1; i < n; i++) {
        low = MIN(low, x[i]);
        high = MAX(high, x[i]);
        sw += w[i];
        sx += w[i] * x[i];
    }
    low = MIN(low, 0);
    if (high <= low) {
        for (int i = 0; i < n; i++) code[i] = 0;
        *min = -low;
        return 0;
    }
    float inverse = (float)N / (high - low), scale = 1 / inverse;
    for (int i = 0; i < n; i++) code[i] = (uint8_t)fit_round(inverse * (x[i] - low), 0, N);
    float best = affine_error(n, x, w, code, scale, low);
    for (int k = 0; k <= K; k++) {
        float sl = 0, sll = 0, sxl = 0;
        uint8_t now[FIT_MAX];
        /* After an improvement low is the new minimum here, as in every other writer. */
        inverse = (r + delta * (float)k + (float)N) / (high - low);
        for (int i = 0; i < n; i++) {
            int l = fit_round(inverse * (x[i] - low), 0, N);
            now[i] = (uint8_t)l;
            sl += w[i] * (float)l;
            sll += w[i] * (float)l * (float)l;
            sxl += w[i] * (float)l * x[i];
        }
        float D = sw * sll - sl * sl;
        if (!(D > 0)) continue;
        float s = (sw * sxl - sx * sl) / D, m = (sll * sx - sl * sxl) / D;
        if (m > 0) {
            m = 0;
            s = sxl / sll;
        }
        float error = affine_error(n, x, w, now, s, m);
        if (error < best) {
            memcpy(code, now, (size_t)n);
            best = error;
            scale = s;
            low = m;
        }
    }
    *min = -low;
    return scale;
}

/* Moves single codes as long as that makes the fit better, at most five rounds. */
static float improve_positive(int n, int N, const float *x, const float *w, uint8_t *code)
{
    float xl = 0, ll = 0;
    for (int i = 0; i < n; i++) {
        xl += w[i] * x[i] * (float)code[i];
        ll += w[i] * (float)code[i] * (float)code[i];
    }
    for (int round = 0, changed = 1; round < 5 && changed; round++) {
        changed = 0;
        for (int i = 0; i < n; i++) {
            float a = xl - w[i] * x[i] * (float)code[i], b = ll - w[i] * (float)code[i] * (float)code[i];
            if (!(a > 0 && b > 0)) continue;
            int l = fit_round(x[i] * b / a, 0, N);
            if (l == code[i]) continue;
            a += w[i] * x[i] * (float)l;
            b += w[i] * (float)l * (float)l;
            if (a * a * ll > xl * xl * b) {
                code[i] = (uint8_t)l;
                xl = a;
                ll = b;
                changed = 1;
            }
        }
    }
    return ll > 0 ? xl / ll : 0;
}

float fit_positive(int n, int N, const float *x, const float *w, uint8_t *code)
{
    float top = 0, best = 0, inverse = 0;
    for (int i = 0; i < n; i++) top = MAX(top, x[i]);
    for (int i = 0; i < n; i++) code[i] = 0;
    if (top < tiny) return 0;
    for (int k = 0; k < 9; k++) {
        int step = k == 0 ? 0 : k <= 4 ? k - 5 : k - 4;         /* 0, -4 ... -1, 1 ... 4 */
        float is = (0.1f * (float)step + (float)N) / top, scale = 1 / is, error = 0;
        for (int i = 0; i < n; i++) {
            float diff = x[i] - scale * (float)fit_round(is * x[i], 0, N);
            error += w[i] * diff * diff;
        }
        if (k == 0 || error < best) {
            best = error;
            inverse = is;
        }
    }
    for (int i = 0; i < n; i++) code[i] = (uint8_t)fit_round(inverse * x[i], 0, N);
    return improve_positive(n, N, x, w, code);
}

float fit_range(int N, const float *x, const float *importance, float sigma2, uint8_t *code, float *min)
{
    if (importance) {
        float w[32], negated, d;
        fit_weights(32, x, importance, sigma2, w);
        d = fit_affine(32, N, x, w, -0.9f, 0.05f, 36, code, &negated);
        *min = -negated;
        return d;
    }
    float low = x[0], high = x[0];
    for (int j = 1; j < 32; j++) {
        low = MIN(low, x[j]);
        high = MAX(high, x[j]);
    }
    float d = (high - low) / (float)N, id = d != 0 ? 1.0f / d : 0;
    for (int j = 0; j < 32; j++) code[j] = (uint8_t)MIN(N, (int)((x[j] - low) * id + 0.5f));
    *min = low;
    return d;
}
