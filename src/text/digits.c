#include "text/digits.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bits.h"

enum { PLACES = 18, EXPONENT_MAX = 280 };
#define ONE ((digits_fixed)1000000000000000000)
#define FIXED_MAX ((digits_fixed)INT64_MAX * ONE)

typedef enum stage { START, SIGN, ZERO, WHOLE, POINT, FRACTION, E, E_SIGN, EXPONENT } stage;

void digits_range_init(digits_range *r, bool integer)
{
    *r = (digits_range){ .lo = -FIXED_MAX, .hi = FIXED_MAX, .step = integer ? ONE : 1, .integer = integer, .exponent = !integer };
}

void digits_print(double v, char out[32])
{
    for (int n = 1; n <= 17; n++) {
        snprintf(out, 32, "%.*g", n, v);
        if (strtod(out, NULL) == v) break;
    }
}

/* The value rounded down; *exact: nothing was rounded.  Beyond 64 bits it stays at the border. */
static digits_fixed fixed_of_real(double d, bool *exact)
{
    char text[32], *at = text;
    *exact = true;
    if (fabs(d) >= 9.2e18) return d < 0 ? -FIXED_MAX : FIXED_MAX;
    digits_print(d, text);
    bool minus = *at == '-';
    int64_t mantissa = 0;
    int places = 0;
    bool point = false;
    for (at += minus; (*at >= '0' && *at <= '9') || *at == '.'; at++) {
        if (*at == '.') { point = true; continue; }
        mantissa = mantissa * 10 + (*at - '0');
        places += point;
    }
    int power = PLACES - places + (*at == 'e' ? atoi(at + 1) : 0);
    digits_fixed f = mantissa;
    for (; power > 0; power--) f *= 10;
    for (; power < 0; power++) {
        *exact = *exact && f % 10 == 0;
        f /= 10;
    }
    return minus ? -f - !*exact : f;
}

static digits_fixed fixed_of(const json_t *v, bool *exact)
{
    *exact = true;
    return json_is_integer(v) ? (digits_fixed)json_integer_value(v) * ONE : fixed_of_real(json_number_value(v), exact);
}

static digits_fixed round_up(digits_fixed v, digits_fixed step)
{
    digits_fixed rest = v % step;
    return rest == 0 ? v : v > 0 ? v - rest + step : v - rest;
}

static digits_fixed round_down(digits_fixed v, digits_fixed step) { return -round_up(-v, step); }

static void tidy(digits_range *r)
{
    r->exponent = false;
    r->lo = round_up(r->lo, r->step);
    r->hi = round_down(r->hi, r->step);
}

/* Readers hold doubles: beside an exclusive bound stands the next double, not the next decimal, which would read as the bound. */
static bool next_double(const json_t *v, double towards, digits_fixed *f, bool *exact)
{
    double d = json_number_value(v);
    if (fabs(d) >= 0x1p53) return false;
    *f = fixed_of_real(nextafter(d, towards), exact);
    return true;
}

void digits_at_least(digits_range *r, const json_t *v, bool exclusive)
{
    bool exact;
    digits_fixed f = fixed_of(v, &exact), next;
    f += exclusive || !exact;
    if (exclusive && next_double(v, INFINITY, &next, &exact)) f = MAX(f, next + !exact);
    r->lo = MAX(r->lo, f);
    tidy(r);
}

void digits_at_most(digits_range *r, const json_t *v, bool exclusive)
{
    bool exact;
    digits_fixed f = fixed_of(v, &exact), next;
    f -= exclusive && exact;
    if (exclusive && next_double(v, -INFINITY, &next, &exact)) f = MIN(f, next);
    r->hi = MIN(r->hi, f);
    tidy(r);
}

bool digits_multiple_of(digits_range *r, const json_t *v)
{
    bool exact;
    digits_fixed f = fixed_of(v, &exact), a = r->step, b = f, both;
    if (!exact || f <= 0 || f >= FIXED_MAX) return false;
    for (digits_fixed t; b; t = a % b, a = b, b = t) {}
    if (__builtin_mul_overflow(r->step / a, f, &both) || both > FIXED_MAX) return false;
    r->step = both;
    tidy(r);
    return true;
}

bool digits_possible(const digits_range *r) { return r->lo <= r->hi; }

/* Some value of the range lies in [a, b]. */
static bool meets(const digits_range *r, digits_fixed a, digits_fixed b)
{
    a = MAX(a, r->lo);
    b = MIN(b, r->hi);
    return a <= b && round_up(a, r->step) <= b;
}

/* The same for magnitudes with the sign that was written; -0 is no value. */
static bool reaches(const digits_range *r, bool minus, digits_fixed a, digits_fixed b)
{
    return minus ? meets(r, -b, -MAX(a, 1)) : meets(r, a, b);
}

static digits_fixed unit(int places)
{
    digits_fixed u = ONE;
    for (int i = 0; i < places; i++) u /= 10;
    return u;
}

static digits_fixed magnitude(const digits *d)
{
    return (digits_fixed)d->whole * ONE + (digits_fixed)d->fraction * unit(d->places);
}

static bool feasible(const digits_range *r, const digits *d)
{
    digits_fixed a, b;
    switch ((stage)d->stage) {
    case SIGN: return meets(r, r->lo, -1);
    case ZERO: return reaches(r, d->minus, 0, r->integer ? 0 : ONE - 1);
    case WHOLE:
        a = (digits_fixed)d->whole * ONE;
        b = a + (r->integer ? 0 : ONE - 1);
        for (; a <= FIXED_MAX; a *= 10, b = b * 10 + (r->integer ? 9 * ONE : 9))
            if (reaches(r, d->minus, a, b)) return true;
        return false;
    case POINT: case FRACTION:
        a = magnitude(d);
        return reaches(r, d->minus, a, a + unit(d->places) - 1);
    default: return true;
    }
}

static bool add_digit(const digits_range *r, digits *d, int c)
{
    switch ((stage)d->stage) {
    case START: case SIGN:
        d->stage = c ? WHOLE : ZERO;
        d->whole = c;
        break;
    case WHOLE:
        if (__builtin_mul_overflow(d->whole, 10, &d->whole) || __builtin_add_overflow(d->whole, c, &d->whole)) return false;
        break;
    case POINT: case FRACTION:
        if (d->places == PLACES) return false;
        d->stage = FRACTION;
        d->fraction = d->fraction * 10 + c;
        d->places++;
        break;
    case E: case E_SIGN: case EXPONENT:
        if (d->exponent * 10 + c > EXPONENT_MAX || (d->stage == EXPONENT && d->exponent == 0)) return false;
        d->stage = EXPONENT;
        d->exponent = (uint16_t)(d->exponent * 10 + c);
        break;
    default: return false;
    }
    return feasible(r, d);
}

static bool add_sign(const digits_range *r, digits *d, char c)
{
    if (d->stage == E) {
        d->stage = E_SIGN;
        return true;
    }
    if (d->stage != START || c != '-') return false;
    d->stage = SIGN;
    d->minus = true;
    return feasible(r, d);
}

bool digits_step(const digits_range *r, digits *d, char c)
{
    digits n = *d;
    bool ok = false;
    if (c >= '0' && c <= '9') ok = add_digit(r, &n, c - '0');
    else if (c == '-' || c == '+') ok = add_sign(r, &n, c);
    else if (c == '.' && !r->integer && (n.stage == ZERO || n.stage == WHOLE)) {
        n.stage = POINT;
        ok = feasible(r, &n);
    } else if ((c == 'e' || c == 'E') && r->exponent && (n.stage == ZERO || n.stage == WHOLE || n.stage == FRACTION)) {
        ok = magnitude(&n) > 0;
        n.stage = E;
    }
    if (ok) *d = n;
    return ok;
}

bool digits_complete(const digits_range *r, const digits *d)
{
    digits_fixed v = magnitude(d);
    if (d->stage == EXPONENT) return true;
    if (d->stage != ZERO && d->stage != WHOLE && d->stage != FRACTION) return false;
    return reaches(r, d->minus, v, v);
}
