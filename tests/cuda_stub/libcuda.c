/* A driver without a GPU, to test what calls the driver: "device" memory is memory of the host, work is done at once
   unless it is recorded, and one kernel is known, the one of the test. Strict where the real driver is: calls need a
   current context, addresses must lie in memory that was allocated, asynchronous copies want pinned memory, streams and
   events must be alive. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef int Status;
typedef unsigned long long Address;
enum { OK = 0, INVALID = 1, FULL = 2, NO_DEVICE = 100, NO_CONTEXT = 201, NOT_READY = 600, ILLEGAL = 700, DESTROYED = 709, FAILED = 719, TOO_LARGE = 720 };

typedef struct Block { char *start; size_t size; int pinned; struct Block *next; } Block;
typedef struct Work { void (*run)(void *); void *data; struct Work *next; } Work;

static Block *blocks;
static Work *recorded, **last;
static int depth, streams_recording;
static long total = 1l << 30, used;
long stub_graphs, stub_replays, stub_events, stub_launches, stub_shared_allowed;
unsigned stub_grid, stub_threads, stub_shared;
int stub_cooperative, stub_lost; /* lost: an error of the hardware, after which nothing can be read */
long stub_up, stub_down, stub_across; /* bytes */

static int setting(const char *name, int otherwise) { const char *v = getenv(name); return v ? atoi(v) : otherwise; }

static Block *holding(const void *p, size_t size, int pinned) {
    for (Block *b = blocks; b; b = b->next)
        if ((char *)p >= b->start && (char *)p + size <= b->start + b->size && b->pinned == pinned) return b;
    return NULL;
}

#define NEED_CONTEXT if (!depth) return NO_CONTEXT
#define NEED(p, size, pinned) if (!holding((void *)(p), size, pinned)) return ILLEGAL

/* Streams and events: a handle is never given twice, so that one of the past is known as such. */
typedef struct Handle { int recorded, alive; struct Handle *next; } Handle;
static Handle *streams, *events;
static Handle *born(Handle **list) {
    Handle *h = malloc(sizeof *h);
    *h = (Handle){0, 1, *list}; *list = h;
    return h;
}
static int lives(Handle *list, void *p) {
    for (; list; list = list->next) if (list == p) return list->alive;
    return 0;
}
/* 0, 1, 2: the streams that are always there. */
#define NEED_STREAM(s) if ((uintptr_t)(s) > 2 && !lives(streams, s)) return DESTROYED
#define NEED_EVENT(e) if (!lives(events, e)) return DESTROYED

/* Also called by the stub of the library of products. */
Status stub_submit(void (*run)(void *), const void *data, size_t size) {
    void *copy = memcpy(malloc(size), data, size);
    if (!streams_recording) { run(copy); free(copy); return OK; }
    Work *work = malloc(sizeof *work);
    *work = (Work){run, copy, NULL};
    *last = work; last = &work->next;
    return OK;
}
int stub_device_memory(const void *p, size_t size) { return holding(p, size, 0) != NULL; }
long stub_blocks(void) { long n = 0; for (Block *b = blocks; b; b = b->next) n += !b->pinned; return n; }
int stub_depth(void) { return depth; }

Status cuInit(unsigned flags) { return setting("STUB_INIT", OK); }
Status cuDriverGetVersion(int *v) { *v = setting("STUB_VERSION", 13000); return OK; }
Status cuDeviceGetCount(int *n) { *n = setting("STUB_COUNT", 1); return OK; }
Status cuDeviceGet(int *d, int i) { *d = i; return OK; }
Status cuDeviceGetName(char *s, int n, int d) { strncpy(s, "Stub", n); return OK; }
Status cuDeviceGetAttribute(int *v, int a, int d) {
    int cc = setting("STUB_CAPABILITY", 90);
    switch (a) {
    case 1: *v = 1024; break;
    case 16: *v = 4; break;
    case 75: *v = cc / 10; break;
    case 76: *v = cc % 10; break;
    case 97: *v = 232448; break;
    default: return INVALID;
    }
    return OK;
}
Status cuDevicePrimaryCtxRetain(void **c, int d) { *c = &depth; return OK; }
Status cuCtxPushCurrent(void *c) { if (c != &depth) return INVALID; depth++; return OK; }
Status cuCtxPopCurrent(void **c) { NEED_CONTEXT; depth--; if (c) *c = &depth; return OK; }
Status cuGetErrorString(Status s, const char **t) { *t = s == ILLEGAL ? "illegal address" : s == FAILED ? "unspecified launch failure" : "refused"; return OK; }

static Status allocate(void **p, size_t size, int pinned) {
    NEED_CONTEXT;
    if (!pinned && used + (long)size > total) return FULL;
    Block *b = malloc(sizeof *b);
    *b = (Block){aligned_alloc(256, (size + 255) / 256 * 256), size, pinned, blocks};
    memset(b->start, 0xab, size);
    blocks = b; used += pinned ? 0 : size; *p = b->start;
    return OK;
}
Status cuMemAlloc(Address *p, size_t size) { return allocate((void **)p, size, 0); }
Status cuMemHostAlloc(void **p, size_t size, unsigned flags) { return allocate(p, size, 1); }
Status cuMemFree(Address p) {
    NEED_CONTEXT;
    for (Block **b = &blocks; *b; b = &(*b)->next)
        if ((*b)->start == (char *)p) {
            Block *gone = *b; *b = gone->next; used -= gone->size; free(gone->start); free(gone);
            return OK;
        }
    return INVALID;
}
Status cuMemGetInfo(size_t *f, size_t *t) { NEED_CONTEXT; *f = total - used; *t = total; return OK; }

typedef struct { void *to; const void *from; size_t size; int byte; } Copy;
static void run_copy(void *d) { Copy *c = d; c->from ? memmove(c->to, c->from, c->size) : memset(c->to, c->byte, c->size); }
static Status copy(Address to, Address from, size_t size, int to_pinned, int from_pinned) {
    NEED_CONTEXT; NEED(to, size, to_pinned); NEED(from, size, from_pinned);
    if (stub_lost) return FAILED;
    *(to_pinned ? &stub_down : from_pinned ? &stub_up : &stub_across) += size;
    Copy c = {(void *)to, (void *)from, size, 0};
    return stub_submit(run_copy, &c, sizeof c);
}
Status cuMemcpyHtoDAsync(Address to, const void *from, size_t n, void *s) { NEED_STREAM(s); return copy(to, (Address)from, n, 0, 1); }
Status cuMemcpyDtoHAsync(void *to, Address from, size_t n, void *s) { NEED_STREAM(s); return copy((Address)to, from, n, 1, 0); }
Status cuMemcpyDtoDAsync(Address to, Address from, size_t n, void *s) { NEED_STREAM(s); return copy(to, from, n, 0, 0); }
Status cuMemsetD8Async(Address to, unsigned char byte, size_t n, void *s) {
    NEED_CONTEXT; NEED_STREAM(s); NEED(to, n, 0);
    Copy c = {(void *)to, NULL, n, byte};
    return stub_submit(run_copy, &c, sizeof c);
}

Status cuStreamCreate(void **s, unsigned flags) { NEED_CONTEXT; *s = born(&streams); return flags == 1 ? OK : INVALID; }
Status cuStreamDestroy(void *s) { NEED_CONTEXT; NEED_STREAM(s); ((Handle *)s)->alive = 0; return OK; }
Status cuStreamSynchronize(void *s) { NEED_CONTEXT; NEED_STREAM(s); return streams_recording ? INVALID : OK; }
Status cuStreamWaitEvent(void *s, void *e, unsigned flags) { NEED_CONTEXT; NEED_STREAM(s); NEED_EVENT(e); return OK; }
Status cuStreamBeginCapture(void *s, int mode) {
    NEED_CONTEXT;
    if (streams_recording) return INVALID;
    recorded = NULL; last = &recorded; streams_recording = 1;
    return OK;
}
Status cuStreamEndCapture(void *s, void **g) {
    NEED_CONTEXT;
    if (!streams_recording) return INVALID;
    Work **graph = malloc(sizeof *graph);
    *graph = recorded; *g = graph; streams_recording = 0; stub_graphs++;
    return OK;
}
Status cuGraphInstantiateWithFlags(void **x, void *g, unsigned long long f) {
    NEED_CONTEXT;
    Work **ready = malloc(sizeof *ready);
    *ready = *(Work **)g; *x = ready; stub_graphs++;
    return OK;
}
Status cuGraphLaunch(void *x, void *s) {
    NEED_CONTEXT; NEED_STREAM(s);
    stub_replays++;
    for (Work *w = *(Work **)x; w; w = w->next) w->run(w->data);
    return OK;
}
Status cuGraphDestroy(void *g) { NEED_CONTEXT; free(g); stub_graphs--; return OK; }
Status cuGraphExecDestroy(void *g) { NEED_CONTEXT; free(g); stub_graphs--; return OK; }

Status cuEventCreate(void **e, unsigned flags) { NEED_CONTEXT; *e = born(&events); stub_events++; return OK; }
Status cuEventRecord(void *e, void *s) { NEED_CONTEXT; NEED_STREAM(s); NEED_EVENT(e); ((Handle *)e)->recorded = 1; return OK; }
Status cuEventQuery(void *e) { NEED_EVENT(e); return ((Handle *)e)->recorded ? OK : NOT_READY; }
Status cuEventSynchronize(void *e) { NEED_CONTEXT; NEED_EVENT(e); return OK; }
Status cuEventElapsedTime(float *ms, void *a, void *b) { NEED_CONTEXT; NEED_EVENT(a); NEED_EVENT(b); *ms = 1500; return OK; }
Status cuEventDestroy(void *e) { NEED_CONTEXT; NEED_EVENT(e); ((Handle *)e)->alive = 0; stub_events--; return OK; }

Status cuModuleLoadData(void **m, const void *image) { NEED_CONTEXT; *m = (void *)image; return memcmp(image, "\177ELF", 4); }
Status cuModuleGetFunction(void **f, void *m, const char *name) {
    NEED_CONTEXT;
    *f = strdup(name);
    return strncmp(name, "_Z", 2) ? INVALID : OK;
}
Status cuFuncSetAttribute(void *f, int a, int v) { NEED_CONTEXT; stub_shared_allowed = v; return a == 8 ? OK : INVALID; }
Status cuOccupancyMaxActiveBlocksPerMultiprocessor(int *n, void *f, int threads, size_t shared) {
    NEED_CONTEXT; *n = 2; return OK;
}

/* y[i] += a*x[i]; counter[0] += 1: saxpy(x float32*, y float32*, counter int32[], a float32, n uint32). */
typedef struct { float *x, *y; int32_t *counter; float a; uint32_t n; } Saxpy;
static void run_saxpy(void *d) {
    Saxpy *k = d;
    for (uint32_t i = 0; i < k->n; i++) k->y[i] += k->a * k->x[i];
    k->counter[0] += 1;
}
/* Kernels of other names do nothing. */
static void run_nothing(void *d) {}
static Status launch(const char *name, unsigned grid, unsigned threads, unsigned shared, void **p) {
    NEED_CONTEXT;
    if (shared > 49152 && stub_shared_allowed < shared) return TOO_LARGE;
    stub_launches++; stub_grid = grid; stub_threads = threads; stub_shared = shared;
    if (!strstr(name, "saxpy")) return stub_submit(run_nothing, &shared, sizeof shared);
    Saxpy k = {*(float **)p[0], *(float **)p[1], *(int32_t **)p[6], *(float *)p[9], *(uint32_t *)p[10]};
    NEED(k.x, k.n * 4, 0); NEED(k.y, k.n * 4, 0); NEED(k.counter, 4, 0);
    if (*(void **)p[2] || *(void **)p[3] || *(int64_t *)p[4] != *(int64_t *)p[7]) return INVALID;
    if (*(int64_t *)p[5] != 4 || *(int64_t *)p[8] != 4) return INVALID;
    return stub_submit(run_saxpy, &k, sizeof k);
}
Status cuLaunchKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared,
                      void *s, void **params, void **extra) {
    NEED_STREAM(s);
    stub_cooperative = 0;
    return gy * gz * by * bz == 1 && !extra ? launch(f, gx, bx, shared, params) : INVALID;
}
Status cuLaunchCooperativeKernel(void *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                 unsigned shared, void *s, void **params) {
    NEED_STREAM(s);
    stub_cooperative = 1;
    return gy * gz * by * bz == 1 ? launch(f, gx, bx, shared, params) : INVALID;
}

Status cuGetProcAddress_v2(const char *name, void **f, int version, uint64_t flags, int *status) {
    Dl_info self;
    dladdr((void *)cuInit, &self);
    *f = dlsym(dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD), name);
    return OK;
}
