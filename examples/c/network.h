/* FORWARD-PASS, BACKWARDPROP and the update of the notes, on numbers of type REAL.
 *
 * backprop.c includes this twice, with REAL double and with REAL float: <tgmath.h> takes exp for the
 * one and expf for the other. A name that is another for each is written N(name).
 */

typedef struct {
    int rows, cols;
    REAL *of; /* row by row */
} N(Matrix);
#define Matrix N(Matrix)
#define EACH(i, M) (int i = 0; i < (M).rows * (M).cols; i++)

static Matrix N(matrix)(int rows, int cols)
{
    return (Matrix){rows, cols, room((size_t)rows * (size_t)cols * sizeof(REAL))};
}

static Matrix N(given)(Given G)
{
    Matrix M = N(matrix)(G.rows, G.cols);
    for EACH(i, M) M.of[i] = (REAL)G.of[i];
    return M;
}

static Matrix N(times)(Matrix P, Matrix Q)
{
    Matrix M = N(matrix)(P.rows, Q.cols);
    for EACH(i, M) {
        const REAL *p = P.of + i / Q.cols * P.cols, *q = Q.of + i % Q.cols;
        M.of[i] = 0;
        for (int k = 0; k < P.cols; k++)
            M.of[i] += p[k] * q[k * Q.cols];
    }
    return M;
}

static Matrix N(transposed)(Matrix M)
{
    Matrix T = N(matrix)(M.cols, M.rows);
    for EACH(i, M) T.of[i % M.cols * T.cols + i / M.cols] = M.of[i];
    return T;
}

/* Z̃ = [Z | 1]: the unit that the bias, the last row of W, is the weight of */
static Matrix N(with_ones)(Matrix Z, int bias)
{
    Matrix M = N(matrix)(Z.rows, Z.cols + bias);
    for EACH(i, M) {
        int j = i % M.cols;
        M.of[i] = j < Z.cols ? Z.of[i / M.cols * Z.cols + j] : 1;
    }
    return M;
}

/* W without the bias: nothing flows back into the constant unit */
static Matrix N(without_bias)(Matrix W, int bias)
{
    return (Matrix){W.rows - bias, W.cols, W.of};
}

/* σ and σ', an element at a time ------------------------------------------------------------------ */

static REAL N(logistic)(REAL a) { return 1 / (1 + exp(-a)); }

/* σ(a) σ(−a) = e/(1 + e)² with e = e^−|a|: accurate in its tails, as s (1 − s) is not */
static REAL N(logistic_prime)(REAL a)
{
    REAL e = exp(-fabs(a));
    return e / ((1 + e) * (1 + e));
}

static REAL N(normal)(REAL a) { return erfc(-a * (REAL)SQRT_HALF) / 2; } /* Φ(a) */

static REAL N(sigma)(int name, REAL a)
{
    switch (name) {
    case RELU: return a > 0 ? a : 0;
    case LEAKY_RELU: return a > 0 ? a : (REAL)0.01 * a;
    case SIGMOID: return N(logistic)(a);
    case TANH: return tanh(a);
    case SOFTPLUS: return (a > 0 ? a : 0) + log1p(exp(-fabs(a)));
    case GELU: return a * N(normal)(a);
    case SILU: return a * N(logistic)(a);
    default: return a; /* IDENTITY */
    }
}

static REAL N(sigma_prime)(int name, REAL a)
{
    switch (name) {
    case RELU: return a > 0;
    case LEAKY_RELU: return a > 0 ? 1 : (REAL)0.01;
    case SIGMOID: return N(logistic_prime)(a);
    case TANH: return 4 * N(logistic_prime)(2 * a); /* 1/cosh² a */
    case SOFTPLUS: return N(logistic)(a);
    case GELU: return N(normal)(a) + a * (exp(-a * a / 2) * (REAL)DENSITY);
    case SILU: return N(logistic)(a) + a * N(logistic_prime)(a);
    default: return 1; /* IDENTITY */
    }
}

/* softmax, a row at a time: s_j = e^{a_j} / Σ_k e^{a_k}, with every a less the row's largest */
static Matrix N(softmax)(Matrix A)
{
    Matrix S = N(matrix)(A.rows, A.cols);
    for (int i = 0; i < A.rows; i++) {
        REAL *a = A.of + i * A.cols, *s = S.of + i * A.cols, top = a[0], sum = 0;
        for (int j = 1; j < A.cols; j++)
            top = fmax(top, a[j]);
        for (int j = 0; j < A.cols; j++)
            sum += s[j] = exp(a[j] - top);
        for (int j = 0; j < A.cols; j++)
            s[j] /= sum;
    }
    return S;
}

static Matrix N(activated)(int name, Matrix A)
{
    if (name == SOFTMAX)
        return N(softmax)(A);
    Matrix Z = N(matrix)(A.rows, A.cols);
    for EACH(i, A) Z.of[i] = N(sigma)(name, A.of[i]);
    return Z;
}

/* ∂L/∂A from G = ∂L/∂Z: G ⊙ σ'(A); for softmax s_j (g_j − Σ_k g_k s_k), the whole row's */
static Matrix N(vjp)(int name, Matrix A, Matrix G)
{
    Matrix delta = N(matrix)(A.rows, A.cols), S = name == SOFTMAX ? N(softmax)(A) : G;
    if (name != SOFTMAX) {
        for EACH(i, A) delta.of[i] = G.of[i] * N(sigma_prime)(name, A.of[i]);
        return delta;
    }
    for EACH(i, A) {
        const REAL *s = S.of + i / A.cols * A.cols, *g = G.of + i / A.cols * A.cols;
        REAL mean = 0;
        for (int k = 0; k < A.cols; k++)
            mean += g[k] * s[k];
        delta.of[i] = S.of[i] * (G.of[i] - mean);
    }
    return delta;
}

/* L(Z_L, Y) and ∂L/∂Z_L: sums over the outputs of every example, divided by n ---------------------- */

static REAL N(loss)(int name, Matrix Z, Matrix Y)
{
    REAL sum = 0;
    for EACH(i, Z) {
        REAL z = Z.of[i], y = Y.of[i];
        sum += name == MEAN_SQUARED_ERROR ? (z - y) * (z - y) : y == 0 ? 0 : -y * log(z);
    }
    return sum / Z.rows;
}

static Matrix N(loss_gradient)(int name, Matrix Z, Matrix Y)
{
    Matrix G = N(matrix)(Z.rows, Z.cols);
    for EACH(i, Z) {
        REAL z = Z.of[i], y = Y.of[i];
        G.of[i] = (name == MEAN_SQUARED_ERROR ? 2 * (z - y) : y == 0 ? 0 : -y / z) / Z.rows;
    }
    return G;
}

/* The heart ------------------------------------------------------------------------------------------ */

static void N(print)(const char *quantity, int L, const Matrix *M)
{
    printf(",\"%s\":[", quantity);
    for (int l = 1; l <= L; l++) {
        for EACH(i, M[l])
            printf("%s\"%a\"", i == 0 ? "[[" : i % M[l].cols == 0 ? "],[" : ",", (double)M[l].of[i]);
        printf(l < L ? "]]," : "]]]");
    }
}

static void N(answer)(const Problem *p)
{
    const int L = p->L, bias = p->bias, *sigma = p->sigma;
    Matrix W[MOST], A[MOST], Z[MOST], delta[MOST], dW[MOST], W_new[MOST];
    Matrix X = N(given)(p->X), Y = N(given)(p->Y), *at = FAULTY ? Z : A;
    for (int l = 1; l <= L; l++)
        W[l] = N(given)(p->W[l]);

    /* FORWARD-PASS(W = {W_1, …, W_L}, X) */
    Z[0] = X;
    for (int l = 1; l <= L; l++) {
        A[l] = N(times)(N(with_ones)(Z[l - 1], bias), W[l]);
        Z[l] = N(activated)(sigma[l], A[l]);
    }

    /* BACKWARDPROP(W, {A_1, …, A_L}, {Z_0, …, Z_L}, Y) */
    delta[L] = N(vjp)(sigma[L], at[L], N(loss_gradient)(p->loss, Z[L], Y));
    for (int l = L - 1; l >= 1; l--) {
        dW[l + 1] = N(times)(N(transposed)(N(with_ones)(Z[l], bias)), delta[l + 1]);
        Matrix W_T = N(transposed)(N(without_bias)(W[l + 1], bias));
        delta[l] = N(vjp)(sigma[l], at[l], N(times)(delta[l + 1], W_T));
    }
    dW[1] = N(times)(N(transposed)(N(with_ones)(Z[0], bias)), delta[1]);

    /* W_l ← W_l − α ∂L/∂W_l */
    for (int l = 1; l <= L; l++) {
        W_new[l] = N(matrix)(W[l].rows, W[l].cols);
        for EACH(i, W[l]) W_new[l].of[i] = W[l].of[i] - (REAL)p->alpha * dW[l].of[i];
    }

    printf("{\"id\":\"%s\"", p->id);
    N(print)("A", L, A);
    N(print)("Z", L, Z);
    N(print)("delta", L, delta);
    N(print)("dW", L, dW);
    N(print)("W_new", L, W_new);
    printf(",\"loss\":\"%a\"}\n", (double)N(loss)(p->loss, Z[L], Y));
}

#undef Matrix
#undef EACH
