#include "engine/app/serve.h"

#include "engine/admin/admin.h"
#include "engine/app/banner.h"
#include "engine/app/engine.h"
#include "engine/app/layout.h"
#include "engine/app/native.h"
#include "engine/app/threads.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum serve_exit { SERVE_OK = 0, SERVE_FAILED = 1, SERVE_USAGE = 2 };

/* How often the first thread looks for a failed boot and for the end of a stop. */
#define SERVE_LOOK_NS (20 * NS_PER_MS)
/* A stop that takes longer is given up: the journal holds what is not flushed, and the next start
 * replays it. */
#define SERVE_STOP_NS (120 * NS_PER_S)
#define SERVE_BOOT_NS (300 * NS_PER_S)

struct serve {
    struct settings settings;
    struct engine_layout layout;
    uint64_t memory_bytes;
    struct disk *disk;
    struct native native;
    struct engine *engine;
    struct threads threads;
    struct admin *admin;
    struct recover_report recovered;
};

static int
serve_fail(enum serve_exit code, const char *what, const struct diag_trail *trail)
{
    fprintf(stderr, "eagre serve: %s%s%s\n", what, trail->text[0] != '\0' ? ": " : "", trail->text);
    return (int)code;
}

/* The trail knows the cause better than the code's one sentence, which is for callers without a
 * trail. */
static int
serve_fail_rc(enum rc rc, const struct diag_trail *trail)
{
    struct diag_trail none = {0};

    if (trail->text[0] == '\0')
        return serve_fail(SERVE_FAILED, rc_text(rc), &none);
    return serve_fail(SERVE_FAILED, "not started", trail);
}

/* One descriptor a connection and a segment: take what the system allows. */
static void
serve_raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* Signals go to the first thread only; every thread started later inherits the mask. */
static void
serve_take_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static enum rc
serve_open_disk(struct serve *serve, struct diag_trail *trail)
{
    char filesystem[DISK_NAME_MAX];

    /* Asked before the directory is made: a start that is refused leaves nothing behind. */
    if (!serve->settings.dev && disk_root_is_memory(serve->settings.data, filesystem)) {
        diag_trail_add(trail,
                       "%s is on %s, which loses everything at power-off; give another --data, or "
                       "--dev if that is meant",
                       serve->settings.data,
                       filesystem);
        return RC_DENIED;
    }
    return disk_open_real(serve->settings.data, &serve->disk, trail);
}

static enum rc
serve_build(struct serve *serve, struct diag_trail *trail)
{
    static const enum io_body bodies[] = {IO_BODY_AUTO, IO_BODY_URING, IO_BODY_THREADS};

    const struct engine_config config = {
        .settings = &serve->settings,
        .layout = &serve->layout,
        .disk = serve->disk,
        .tcp = tcp_real(),
        .memory_bytes = serve->memory_bytes,
        .native = serve->layout.net_count > 0 ? &serve->native.engine : NULL};
    enum rc rc = RC_OK;

    if (serve->layout.net_count > 0)
        rc = native_open(
            &serve->settings, serve->layout.net_count, tcp_real(), &serve->native, trail);
    if (rc == RC_OK)
        rc = engine_create(&config, &serve->engine, trail);
    if (rc != RC_OK)
        return rc;
    rc = threads_start(&serve->threads, serve->engine, bodies[serve->settings.io], trail);
    if (rc == RC_OK)
        rc = engine_wire(serve->engine, trail);
    if (rc == RC_OK)
        rc = engine_recover(serve->engine, &serve->recovered, trail);
    if (rc != RC_OK) {
        threads_end(&serve->threads);
        return rc;
    }
    return RC_OK;
}

static uint64_t
serve_now_ns(void)
{
    struct timespec now;

    /* tidy: ban, the first thread has no core and no clock of its own */
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* True when a signal came within SERVE_LOOK_NS. */
static bool
serve_signalled(const sigset_t *signals)
{
    struct timespec wait = {.tv_nsec = SERVE_LOOK_NS};

    return sigtimedwait(signals, NULL, &wait) > 0;
}

/* Waits until control serves. Returns RC_OK, RC_CLOSED when told to stop, or the boot's failure. */
static enum rc
serve_await_boot(struct serve *serve, const sigset_t *signals, struct diag_trail *trail)
{
    struct control *control = engine_control(serve->engine);
    uint64_t end_ns = serve_now_ns() + SERVE_BOOT_NS;

    while (!control_is_ready(control)) {
        if (control_state(control) == CONTROL_FAILED) {
            diag_trail_add(trail, "%s", control_failure(control));
            return RC_CORRUPT;
        }
        if (serve_now_ns() > end_ns)
            return RC_TIMED_OUT;
        if (serve_signalled(signals))
            return RC_CLOSED;
    }
    return RC_OK;
}

static bool
serve_drain(struct serve *serve)
{
    struct timespec pause = {.tv_nsec = 2 * (long)NS_PER_MS};
    uint64_t end_ns = serve_now_ns() + SERVE_STOP_NS;

    while (!engine_stop_step(serve->engine)) {
        if (serve_now_ns() > end_ns)
            return false;
        nanosleep(&pause, NULL);
    }
    return true;
}

/* Serves until a signal; the engine is wired and recovered. */
static int
serve_run(struct serve *serve, const sigset_t *signals)
{
    struct diag_trail trail = {0};
    int code = SERVE_OK;

    struct admin_config admin;
    engine_admin_config(serve->engine, &admin);
    admin.host = serve->settings.admin.host;
    admin.port = serve->settings.admin.port;
    admin.version = EAGRE_VERSION;
    admin.recovered = &serve->recovered;
    enum rc rc = admin_start(&admin, &serve->admin, &trail);
    threads_go(&serve->threads);
    if (rc == RC_OK)
        rc = serve_await_boot(serve, signals, &trail);
    if (rc == RC_OK) {
        banner_native(&serve->native, &serve->settings, serve->layout.net_count);
        banner_ready(serve->engine, &serve->settings, admin_port(serve->admin));
        admin_announce(serve->admin); /* behind the line: who sees /readyz finds it */
        int signal_number;
        while (sigwait(signals, &signal_number) != 0)
            ;
        banner_stopping();
    } else if (rc != RC_CLOSED) {
        code = serve_fail_rc(rc, &trail);
    }
    if (!serve_drain(serve)) {
        fprintf(stderr,
                "eagre serve: not drained after %llu s; the next start will replay the journal\n",
                (unsigned long long)(SERVE_STOP_NS / NS_PER_S));
        code = SERVE_FAILED;
    }
    admin_stop(serve->admin);
    threads_end(&serve->threads);
    return code;
}

int
serve_main(int argc, char **argv)
{
    static struct serve serve;
    struct diag_trail trail = {0};
    sigset_t signals;

    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            printf("eagre serve: run the server. Settings, also as keys of the file that --config "
                   "names:\n");
            config_usage(stdout);
            return SERVE_OK;
        }
    }
    if (config_load(argc, argv, &serve.settings, &trail) != RC_OK)
        return serve_fail(SERVE_USAGE, "settings", &trail);
    diag_set_level((enum diag_level)serve.settings.log_level);
    serve.memory_bytes = layout_memory_bytes(&serve.settings);
    if (serve.memory_bytes < ENGINE_MEMORY_MIN) {
        diag_trail_add(&trail,
                       "memory must be 0 (computed) or at least %uMiB",
                       (unsigned)(ENGINE_MEMORY_MIN / MIB));
        return serve_fail(SERVE_USAGE, "settings", &trail);
    }
    layout_afford(&serve.settings, serve.memory_bytes);
    if (layout_from_settings(&serve.settings, &serve.layout, &trail) != RC_OK)
        return serve_fail(SERVE_USAGE, "--cores", &trail);
    if (!native_is_on(&serve.settings))
        layout_drop_net(&serve.layout);
    serve_take_signals(&signals);
    serve_raise_descriptors();

    int code;
    enum rc rc = serve_open_disk(&serve, &trail);
    if (rc == RC_OK) {
        banner_start(&serve.settings, &serve.layout, serve.disk);
        rc = serve_build(&serve, &trail);
    }
    if (rc == RC_OK) {
        banner_built(serve.engine, &serve.recovered);
        code = serve_run(&serve, &signals);
    } else {
        code = serve_fail_rc(rc, &trail);
    }
    engine_destroy(serve.engine);
    native_close(&serve.native);
    disk_fini(serve.disk);
    return code;
}
