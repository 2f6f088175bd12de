/* Functions of every lane.  Included after a family's simd_<isa>.h. */
#ifndef FC_KERN_VEC_MATH_H
#define FC_KERN_VEC_MATH_H

#include <math.h>
#include <stdint.h>

/* e^x, relative error below 2e-7; 0 for -infinity; x up to 88.  The power of two goes on in two halves, so that tiny
 * results come out right. */
SIMD_FN simd_f vec_exp(simd_f x)
{
    x = simd_min(simd_max(x, simd_set1(-110.0f)), simd_set1(88.7f));
    simd_i n = simd_to_i(simd_mul(x, simd_set1(1.44269504088896341f)));
    simd_f f = simd_from_i(n), r = simd_fnma(f, simd_set1(0.693359375f), x), p;
    r = simd_fnma(f, simd_set1(-2.12194440e-4f), r);
    p = simd_fma(simd_set1(1.9875691500e-4f), r, simd_set1(1.3981999507e-3f));
    p = simd_fma(p, r, simd_set1(8.3334519073e-3f));
    p = simd_fma(p, r, simd_set1(4.1665795894e-2f));
    p = simd_fma(p, r, simd_set1(1.6666665459e-1f));
    p = simd_fma(p, r, simd_set1(5.0000001201e-1f));
    p = simd_add(simd_fma(simd_mul(r, r), p, r), simd_set1(1));
    simd_i half = simd_i_sra(n, 1), rest = simd_i_sub(n, half);
    p = simd_mul(p, simd_from_bits(simd_i_sll(simd_i_add(half, simd_i_set1(127)), 23)));
    return simd_mul(p, simd_from_bits(simd_i_sll(simd_i_add(rest, simd_i_set1(127)), 23)));
}

/* tanh, relative error below 5e-7: a polynomial near zero, where 1 - 2 / (e^2x + 1) would cancel. */
SIMD_FN simd_f vec_tanh(simd_f x)
{
    simd_f a = simd_abs(x), z = simd_mul(x, x), p, e;
    p = simd_fma(simd_set1(-5.70498872745e-3f), z, simd_set1(2.06390887954e-2f));
    p = simd_fma(p, z, simd_set1(-5.37397155531e-2f));
    p = simd_fma(p, z, simd_set1(1.33314422036e-1f));
    p = simd_fma(p, z, simd_set1(-3.33332819422e-1f));
    p = simd_fma(simd_mul(x, z), p, x);
    e = vec_exp(simd_add(a, a));
    e = simd_sub(simd_set1(1), simd_div(simd_set1(2), simd_add(e, simd_set1(1))));
    return simd_select_lt(a, simd_set1(0.625f), p, simd_copysign(e, x));
}

/* 0.5 g (1 + tanh(u)) = g / (1 + e^-2u), u = sqrt(2/pi) (g + 0.044715 g^3) */
SIMD_FN simd_f vec_gelu(simd_f g)
{
    simd_f k = simd_fma(simd_mul(g, g), simd_set1(-0.0713548162726f), simd_set1(-1.59576912160573f));
    return simd_div(g, simd_add(simd_set1(1), vec_exp(simd_mul(k, g))));
}

#endif
