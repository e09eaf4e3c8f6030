/* NVIDIA's library of matrix products as its documentation has it, on the host: column-major matrices, a bias along the
   rows of the result. Strict: the workspace and every matrix must lie in device memory. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

extern int stub_submit(void (*run)(void *), const void *data, size_t size);
extern int stub_device_memory(const void *p, size_t size);

enum { OK = 0, NOT_SUPPORTED = 15, INVALID = 7 };
typedef struct { int compute, scale, transa, transb; uint32_t epilogue; const void *bias; } Desc;
typedef struct { int type; uint64_t rows, cols; int64_t ld; } Layout;
typedef struct { uint64_t workspace; uint32_t alignment[4]; } Preference;
typedef struct { uint64_t algorithm[8]; size_t workspace; int state; float waves; int reserved[4]; } Heuristic;

uint32_t stub_alignment[4];
int stub_compute;

int cublasLtCreate(void **h) { *h = malloc(1); return OK; }
int cublasLtMatmulDescCreate(Desc **d, int compute, int scale) {
    *d = calloc(1, sizeof **d);
    **d = (Desc){compute, scale, 0, 0, 1, NULL};
    return OK;
}
int cublasLtMatmulDescSetAttribute(Desc *d, int which, const void *value, size_t size) {
    switch (which) {
    case 3: memcpy(&d->transa, value, 4); return size == 4 ? OK : INVALID;
    case 4: memcpy(&d->transb, value, 4); return size == 4 ? OK : INVALID;
    case 7: memcpy(&d->epilogue, value, 4); return size == 4 ? OK : INVALID;
    case 8: memcpy(&d->bias, value, 8); return size == 8 ? OK : INVALID;
    }
    return INVALID;
}
int cublasLtMatrixLayoutCreate(Layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    *l = malloc(sizeof **l);
    **l = (Layout){type, rows, cols, ld};
    return ld >= (int64_t)rows ? OK : INVALID;
}
int cublasLtMatmulPreferenceCreate(Preference **p) { *p = calloc(1, sizeof **p); return OK; }
int cublasLtMatmulPreferenceDestroy(Preference *p) { free(p); return OK; }
int cublasLtMatmulPreferenceSetAttribute(Preference *p, int which, const void *value, size_t size) {
    if (which == 1) { memcpy(&p->workspace, value, 8); return size == 8 ? OK : INVALID; }
    if (which < 5 || which > 8) return INVALID;
    memcpy(&p->alignment[which - 5], value, 4);
    return size == 4 ? OK : INVALID;
}
int cublasLtMatmulAlgoGetHeuristic(void *h, Desc *d, Layout *a, Layout *b, Layout *c, Layout *e, Preference *p, int wanted,
                                   Heuristic *found, int *count) {
    memcpy(stub_alignment, p->alignment, sizeof stub_alignment);
    if (p->workspace != 32 << 20 || wanted != 1) return INVALID;
    found->algorithm[0] = 4711; found->workspace = 1024; found->state = OK;
    *count = 1;
    return OK;
}

typedef struct { Desc d; Layout a, b, c; double alpha, beta; const void *A, *B; void *C; } Product;
static double at(const Layout *l, const void *data, uint64_t r, uint64_t c) {
    size_t i = r + c * l->ld;
    return l->type ? ((const double *)data)[i] : ((const float *)data)[i];
}
static void run_product(void *data) {
    Product *p = data;
    uint64_t k = p->d.transa ? p->a.rows : p->a.cols;
    for (uint64_t r = 0; r < p->c.rows; r++)
        for (uint64_t c = 0; c < p->c.cols; c++) {
            double sum = 0;
            for (uint64_t t = 0; t < k; t++)
                sum += (p->d.transa ? at(&p->a, p->A, t, r) : at(&p->a, p->A, r, t)) *
                       (p->d.transb ? at(&p->b, p->B, c, t) : at(&p->b, p->B, t, c));
            sum *= p->alpha;
            if (p->beta) sum += p->beta * at(&p->c, p->C, r, c);
            if (p->d.epilogue == 4) sum += p->c.type ? ((const double *)p->d.bias)[r] : ((const float *)p->d.bias)[r];
            size_t i = r + c * p->c.ld;
            if (p->c.type) ((double *)p->C)[i] = sum; else ((float *)p->C)[i] = sum;
        }
}
static int lies(const Layout *l, const void *data) {
    size_t size = l->type ? 8 : 4;
    return stub_device_memory(data, size * (l->rows + (l->cols - 1) * l->ld));
}
int cublasLtMatmul(void *h, Desc *d, const void *alpha, const void *A, Layout *a, const void *B, Layout *b, const void *beta,
                   const void *C, Layout *c, void *D, Layout *e, const uint64_t *algorithm, void *workspace, size_t size,
                   void *stream) {
    uint64_t m = d->transa ? a->cols : a->rows, k = d->transa ? a->rows : a->cols, n = d->transb ? b->rows : b->cols;
    int wide = c->type == 1;
    stub_compute = d->compute;
    if (m != c->rows || n != c->cols || k != (d->transb ? b->cols : b->rows) || C != D || c != e) return INVALID;
    if (algorithm[0] != 4711 || size < 1024 || !stub_device_memory(workspace, size) || !stream) return INVALID;
    if (!lies(a, A) || !lies(b, B) || !lies(c, C) || a->type != c->type || d->scale != c->type) return INVALID;
    if (d->epilogue == 4 && !stub_device_memory(d->bias, c->rows * (wide ? 8 : 4))) return INVALID;
    double x = wide ? *(const double *)alpha : *(const float *)alpha, y = wide ? *(const double *)beta : *(const float *)beta;
    Product p = {*d, *a, *b, *c, x, y, A, B, D};
    return stub_submit(run_product, &p, sizeof p);
}
