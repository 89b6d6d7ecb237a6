/* Backpropagation in C99, judged by `conformance run --implementation cmd:./backprop`.
 *
 *     cc -std=c99 -O2 -Wall -Wextra -Werror -ffp-contract=off backprop.c -o backprop -lm
 *
 * It reads problems, a JSON object a line, and writes answers, one a line: docs/vectors.md. Numbers are
 * hexadecimal floats, so that nothing is lost on the way. The heart is at the end of network.h; here is
 * what it takes to read a problem. -DFAULT plants a classic mistake, for the judge to find.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tgmath.h>

#ifdef FAULT
#define FAULTY 1 /* σ'_l is taken at Z_l, to which σ_l has been applied already */
#else
#define FAULTY 0 /* σ'_l is taken at A_l */
#endif

#define MOST 64 /* layers; A[1] is A_1, and so is everything else */
#define SQRT_HALF 0.70710678118654752440
#define DENSITY 0.39894228040143267794 /* 1/√(2π) */

enum { IDENTITY, RELU, LEAKY_RELU, SIGMOID, TANH, SOFTPLUS, GELU, SILU, SOFTMAX, SIGMAS };
static const char *const SIGMA[] = {"identity", "relu", "leaky_relu", "sigmoid", "tanh",
                                    "softplus", "gelu", "silu",       "softmax"};
enum { MEAN_SQUARED_ERROR, CROSS_ENTROPY, LOSSES };
static const char *const LOSS[] = {"mean_squared_error", "cross_entropy"};

typedef struct {
    int rows, cols;
    double *of;
} Given; /* a matrix as it was read: a double holds a float too */

typedef struct {
    char *id, *dtype, *unknown; /* the activation or loss that is none of ours, or NULL */
    int L, sigmas, sigma[MOST], loss, bias;
    double alpha;
    Given W[MOST], X, Y;
} Problem;

static long line_number = 0;
static char *here; /* what is read next */

static void refuse(const char *expected)
{
    fprintf(stderr, "backprop: line %ld: expected %s at '%.20s'\n", line_number, expected, here);
    exit(2);
}

/* Memory for one problem, all given back at once */
static void *taken[32 * MOST];
static int takings = 0;

static void *room(size_t bytes)
{
    void *p = takings < 32 * MOST ? malloc(bytes) : NULL;
    if (p == NULL)
        refuse("a problem that fits the memory");
    return taken[takings++] = p;
}

#define REAL double
#define N(name) name##_double
#include "network.h"
#undef REAL
#undef N
#define REAL float
#define N(name) name##_float
#include "network.h"

/* JSON, as much of it as a problem is made of --------------------------------------------------------- */

/* Whether this sign is next; it is then read */
static int next(char sign)
{
    here += strspn(here, " \t\r\n");
    return *here == sign ? (here++, 1) : 0;
}

static void expect(char sign)
{
    const char what[] = {sign, '\0'};
    if (!next(sign))
        refuse(what);
}

static char *string(void)
{
    expect('"');
    char *start = here;
    here += strcspn(here, "\"\\"); /* no name has a \ in it */
    if (*here != '"')
        refuse("the end of a string");
    *here++ = '\0';
    return start;
}

/* "0x1.8p+1", which strtod reads; and 3.0 */
static double number(void)
{
    char *end;
    int quoted = next('"');
    double x = strtod(here, &end);
    if (end == here)
        refuse("a number");
    here = end;
    if (quoted)
        expect('"');
    return x;
}

static int boolean(void)
{
    here += strspn(here, " \t");
    int yes = strncmp(here, "true", 4) == 0;
    here += yes ? 4 : strncmp(here, "false", 5) == 0 ? 5 : (refuse("true or false"), 0);
    return yes;
}

static Given matrix(void)
{
    int size = 0, commas = 0;
    for (char *c = here; *c != '\0' && strncmp(c, "]]", 2) != 0; c++)
        commas += *c == ',';
    Given M = {0, 0, room((size_t)(commas + 1) * sizeof(double))};
    expect('[');
    do {
        expect('[');
        do
            M.of[size++] = number();
        while (next(','));
        expect(']');
        M.rows++;
    } while (next(','));
    expect(']');
    M.cols = size / M.rows;
    return M;
}

static int one_of(const char *const *names, int count, Problem *p)
{
    char *name = string();
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    p->unknown = name;
    return 0;
}

/* A list that is numbered from 1, by `each`; its length */
static int layers(void (*each)(Problem *, int), Problem *p)
{
    int l = 0;
    expect('[');
    do
        if (++l < MOST)
            each(p, l);
        else
            refuse("fewer layers");
    while (next(','));
    expect(']');
    return l;
}

static void one_sigma(Problem *p, int l) { p->sigma[l] = one_of(SIGMA, SIGMAS, p); }
static void one_weight(Problem *p, int l) { p->W[l] = matrix(); }

static void member(Problem *p, const char *key)
{
    if (strcmp(key, "id") == 0) p->id = string();
    else if (strcmp(key, "dtype") == 0) p->dtype = string();
    else if (strcmp(key, "sigma") == 0) p->sigmas = layers(one_sigma, p);
    else if (strcmp(key, "loss") == 0) p->loss = one_of(LOSS, LOSSES, p);
    else if (strcmp(key, "bias") == 0) p->bias = boolean();
    else if (strcmp(key, "alpha") == 0) p->alpha = number();
    else if (strcmp(key, "W") == 0) p->L = layers(one_weight, p);
    else if (strcmp(key, "X") == 0) p->X = matrix();
    else if (strcmp(key, "Y") == 0) p->Y = matrix();
    else refuse("a member of a problem");
}

static Problem problem(void)
{
    Problem p = {0};
    expect('{');
    do {
        const char *key = string();
        expect(':');
        member(&p, key);
    } while (next(','));
    expect('}');
    int width = p.X.cols, fits = p.id && p.dtype && p.L > 0 && p.L == p.sigmas;
    for (int l = 1; l <= p.L; width = p.W[l++].cols)
        fits = fits && p.W[l].rows == width + p.bias;
    if (!fits || p.X.rows == 0 || p.Y.rows != p.X.rows || p.Y.cols != width)
        refuse("a problem that is whole, and whose shapes fit, before this");
    return p;
}

/* One line of standard input, however long; NULL after the last */
static char *line(void)
{
    static char *text = NULL;
    static size_t most = 0;
    size_t size = 0;
    do {
        if (most < size + 2 && (text = realloc(text, most = 2 * most + 4096)) == NULL)
            return NULL;
        if (fgets(text + size, (int)(most - size), stdin) == NULL)
            return size > 0 ? text : NULL;
        size += strlen(text + size);
    } while (size == 0 || text[size - 1] != '\n');
    return text;
}

int main(void)
{
    while ((here = line()) != NULL) {
        line_number++;
        Problem p = problem();
        if (p.unknown != NULL)
            printf("{\"id\":\"%s\",\"unsupported\":\"it has no %s.\"}\n", p.id, p.unknown);
        else if (strcmp(p.dtype, "float32") == 0)
            answer_float(&p);
        else
            answer_double(&p);
        fflush(stdout); /* who asked is waiting */
        while (takings > 0)
            free(taken[--takings]);
    }
    return 0;
}
