/* What is not obvious about EAL 22.11, and why it is done like this:
 *
 * --no-huge and --in-memory exclude each other; --no-shconf gives the same freedom from files to
 * both, and without it rte_thread_register() refuses (multi-process in use).
 * The runtime directory is looked up in RUNTIME_DIRECTORY before anything else; it is set for the
 * moment of the start.
 * --lcores: EAL keeps its control threads away from the CPUs of its own core; with one core that
 * may run on any CPU they may as well.
 * --single-file-segments: vhost-user passes one descriptor per memory region and takes 8 regions.
 * Ports are not given on the command line but added afterwards, the first like the second: EAL's
 * start succeeds when a device of its command line fails, and the cause is lost. Devices on the PCI
 * bus are an exception: they are looked for at start only, those that -a names. */
#include "hw/ethdev/ethdev_eal.h"

#include "engine/base/check.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ARGUMENTS_MAX 24
#define ARGUMENT_BYTES 448
#define LOG_LINE_BYTES 240
#define WORDS_BYTES 320

struct eal_arguments {
    int count;
    char *at[ARGUMENTS_MAX];
    char text[ARGUMENTS_MAX][ARGUMENT_BYTES];
};

/* One EAL per process, so one of these. */
static struct {
    pthread_mutex_t lock; /* held while a port is opened */
    bool log_is_open;
    bool started;
    bool failed; /* EAL keeps what it has parsed: there is no second attempt */
    bool hugepages;
    bool pci;
    struct eal_arguments arguments; /* EAL keeps pointers into them */

    pthread_mutex_t log_lock;
    bool collecting; /* log lines are kept for the trail, not shown */
    char words[WORDS_BYTES];

    pthread_once_t exit_once;
    pthread_key_t exit_key;
} eal = {.lock = PTHREAD_MUTEX_INITIALIZER,
         .log_lock = PTHREAD_MUTEX_INITIALIZER,
         .exit_once = PTHREAD_ONCE_INIT};

/* The first lines tell the cause, the later ones what became of it. */
static void
collect_words(const char *line)
{
    size_t used = strlen(eal.words);

    (void)snprintf(eal.words + used, sizeof(eal.words) - used, "%s%s", used == 0 ? "" : "; ", line);
}

/* One call is one line: the stream is line buffered. */
static ssize_t
take_log_line(void *cookie, const char *bytes, size_t count)
{
    char line[LOG_LINE_BYTES];
    size_t used = strnlen(bytes, count);

    (void)cookie;
    while (used > 0 && (uint8_t)bytes[used - 1] <= ' ')
        used--;
    (void)snprintf(line, sizeof(line), "%.*s", (int)used, bytes);
    pthread_mutex_lock(&eal.log_lock);
    bool show = !eal.collecting;
    if (!show && line[0] != '\0')
        collect_words(line);
    pthread_mutex_unlock(&eal.log_lock);
    if (show && line[0] != '\0')
        diag_warn("dpdk_says", "%s", line);
    return (ssize_t)count;
}

static void
collect_log(bool on)
{
    pthread_mutex_lock(&eal.log_lock);
    eal.collecting = on;
    if (on)
        eal.words[0] = '\0';
    pthread_mutex_unlock(&eal.log_lock);
}

const char *
ethdev__eal_words(void)
{
    return eal.words;
}

/* libbpf and libxdp come with the AF_XDP driver and print to stderr what is of interest only when
 * something fails: their warnings go where the driver's do. */
static int
take_print(int level, const char *format, va_list values)
{
    char line[LOG_LINE_BYTES];

    if (level != 0)
        return 0;
    (void)vsnprintf(line, sizeof(line), format, values);
    if (strstr(line, "unrecognized data section") == NULL)
        (void)take_log_line(NULL, line, strlen(line));
    return 0;
}

static void
redirect_print(const char *library, const char *function)
{
    void *handle = dlopen(library, RTLD_LAZY | RTLD_NOLOAD);
    void (*set_print)(int (*print)(int, const char *, va_list)) = NULL;

    if (handle == NULL)
        return;
    *(void **)&set_print = dlsym(handle, function);
    if (set_print != NULL)
        set_print(take_print);
    (void)dlclose(handle); /* the driver holds it */
}

/* Once: it stays when a start fails, and is there for the next one. */
static enum rc
open_log(void)
{
    if (eal.log_is_open)
        return RC_OK;
    FILE *stream = fopencookie(NULL, "w", (cookie_io_functions_t){.write = take_log_line});

    if (stream == NULL)
        return RC_NO_MEMORY;
    (void)setvbuf(stream, NULL, _IOLBF, 512);
    if (rte_openlog_stream(stream) != 0) {
        (void)fclose(stream);
        return RC_NO_MEMORY;
    }
    eal.log_is_open = true;
    return RC_OK;
}

static void __attribute__((format(printf, 2, 3)))
add_argument(struct eal_arguments *arguments, const char *format, ...)
{
    va_list values;

    CHECK(arguments->count < ARGUMENTS_MAX - 1);
    char *text = arguments->text[arguments->count];
    va_start(values, format);
    (void)vsnprintf(text, ARGUMENT_BYTES, format, values);
    va_end(values);
    arguments->at[arguments->count++] = text;
    arguments->at[arguments->count] = NULL;
}

/* "0-3,8": the CPUs of the process, cut when text is full. */
static void
list_cpus(const cpu_set_t *cpus, char *text, size_t capacity)
{
    size_t used = 0;

    text[0] = '\0';
    for (size_t cpu = 0; cpu < CPU_SETSIZE && used + 16 < capacity; cpu++) {
        if (!CPU_ISSET(cpu, cpus))
            continue;
        size_t last = cpu;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, cpus))
            last++;
        used += (size_t)snprintf(
            text + used, capacity - used, "%s%zu-%zu", used == 0 ? "" : ",", cpu, last);
        cpu = last;
    }
}

static void
make_arguments(const struct ethdev_eal_config *config, const cpu_set_t *cpus)
{
    struct eal_arguments *arguments = &eal.arguments;
    uint64_t mib = (config->memory_bytes + MIB - 1) / MIB;
    char list[ARGUMENT_BYTES - 16];

    list_cpus(cpus, list, sizeof(list));
    arguments->count = 0;
    add_argument(arguments, "eagre");
    add_argument(arguments, "--file-prefix=eagre-%d", (int)getpid());
    add_argument(arguments, "--no-telemetry");
    add_argument(arguments, "--log-level=*:error");
    add_argument(arguments, "--lcores=0@(%s)", list);
    if (config->hugepages) {
        add_argument(arguments, "--in-memory");
        add_argument(arguments, "--single-file-segments");
    } else {
        add_argument(arguments, "--no-huge");
        add_argument(arguments, "--no-shconf");
        add_argument(arguments, "-m");
        add_argument(arguments, "%llu", (unsigned long long)mib);
    }
    if (config->pci != NULL) {
        add_argument(arguments, "-a");
        add_argument(arguments, "%s", config->pci);
    } else {
        add_argument(arguments, "--no-pci");
    }
}

static enum rc
make_runtime_dir(const char *wanted, char *dir, size_t capacity, struct diag_trail *trail)
{
    const char *parent = wanted;
    int used;

    if (parent == NULL)
        parent = getenv("XDG_RUNTIME_DIR");
    if (parent != NULL && parent[0] != '\0')
        used = snprintf(dir, capacity, "%s/dpdk-XXXXXX", parent);
    else
        used = snprintf(dir, capacity, "/tmp/eagre-%d-XXXXXX", (int)getpid());
    if (used < 0 || (size_t)used >= capacity) {
        diag_trail_add(trail, "runtime directory \"%s\" has too long a name", parent);
        return RC_INVALID;
    }
    if (mkdtemp(dir) == NULL) {
        diag_trail_add(trail, "runtime directory %s: %s", dir, strerror(errno));
        return rc_from_errno(errno);
    }
    return RC_OK;
}

/* It holds two empty directories, as nothing is shared. */
static void
remove_runtime_dir(const char *dir)
{
    char path[PATH_MAX];

    (void)snprintf(path, sizeof(path), "%s/dpdk/eagre-%d", dir, (int)getpid());
    (void)rmdir(path);
    (void)snprintf(path, sizeof(path), "%s/dpdk", dir);
    (void)rmdir(path);
    if (rmdir(dir) != 0)
        diag_warn("dpdk_directory_stays", "path=%s cause=%s", dir, strerror(errno));
}

static enum rc
explain_start(const struct ethdev_eal_config *config, int error, struct diag_trail *trail)
{
    diag_trail_add(trail,
                   "DPDK does not start%s: %s (%s)",
                   config->hugepages ? " with hugepages" : "",
                   rte_strerror(error),
                   eal.words[0] != '\0' ? eal.words : "no word from it");
    if (config->hugepages) {
        diag_trail_add(trail, "are hugepages reserved, and may this user map them?");
        return RC_NO_MEMORY;
    }
    if (error == EACCES || error == EPERM)
        return RC_DENIED;
    return error == ENOMEM ? RC_NO_MEMORY : RC_UNSUPPORTED;
}

static enum rc
start(const struct ethdev_eal_config *config, struct diag_trail *trail)
{
    char dir[PATH_MAX - 64];
    char before[PATH_MAX];
    const char *variable = getenv("RUNTIME_DIRECTORY");
    cpu_set_t cpus;

    CHECK(sched_getaffinity(0, sizeof(cpus), &cpus) == 0);
    enum rc rc = open_log();
    if (rc == RC_OK)
        rc = make_runtime_dir(config->runtime_dir, dir, sizeof(dir), trail);
    if (rc != RC_OK)
        return rc;
    make_arguments(config, &cpus);

    (void)snprintf(before, sizeof(before), "%s", variable == NULL ? "" : variable);
    (void)setenv("RUNTIME_DIRECTORY", dir, 1);
    int result = rte_eal_init(eal.arguments.count, eal.arguments.at);
    int error = rte_errno;
    if (variable != NULL)
        (void)setenv("RUNTIME_DIRECTORY", before, 1);
    else
        (void)unsetenv("RUNTIME_DIRECTORY");
    remove_runtime_dir(dir);
    /* Drivers' threads are children of this one. */
    (void)sched_setaffinity(0, sizeof(cpus), &cpus);

    eal.failed = result < 0;
    if (eal.failed)
        return explain_start(config, error, trail);
    redirect_print("libbpf.so.1", "libbpf_set_print");
    redirect_print("libxdp.so.1", "libxdp_set_print");
    eal.started = true;
    eal.hugepages = config->hugepages;
    eal.pci = config->pci != NULL;
    return RC_OK;
}

enum rc
ethdev__eal_start(const struct ethdev_eal_config *config, struct diag_trail *trail)
{
    if (eal.failed) {
        diag_trail_add(trail, "DPDK did not start before, and tries once in a process");
        return RC_UNSUPPORTED;
    }
    if (!eal.started)
        return start(config, trail);
    if (eal.hugepages != config->hugepages) {
        diag_trail_add(trail, "DPDK runs %s hugepages already", eal.hugepages ? "with" : "without");
        return RC_UNSUPPORTED;
    }
    if (config->pci != NULL && !eal.pci) {
        diag_trail_add(trail, "a PCI device must be the first port of a process");
        return RC_UNSUPPORTED;
    }
    return RC_OK;
}

struct detached {
    enum rc (*work)(void *context);
    void *context;
    enum rc rc;
};

static void *
run_detached(void *argument)
{
    struct detached *detached = argument;
    sigset_t blocked;

    sigfillset(&blocked);
    sigdelset(&blocked, SIGIO);
    CHECK(pthread_sigmask(SIG_BLOCK, &blocked, NULL) == 0);
    detached->rc = detached->work(detached->context);
    return NULL;
}

enum rc
ethdev__eal_detached(enum rc (*work)(void *context), void *context, struct diag_trail *trail)
{
    struct detached detached = {.work = work, .context = context, .rc = RC_OK};
    pthread_t thread;

    pthread_mutex_lock(&eal.lock);
    collect_log(true);
    mode_t mask = umask(0077);
    int error = pthread_create(&thread, NULL, run_detached, &detached);
    if (error == 0)
        error = pthread_join(thread, NULL);
    (void)umask(mask);
    collect_log(false);
    pthread_mutex_unlock(&eal.lock);
    if (error != 0) {
        diag_trail_add(trail, "thread to start DPDK on: %s", strerror(error));
        return rc_from_errno(error);
    }
    return detached.rc;
}

static void
leave_thread(void *value)
{
    (void)value;
    rte_thread_unregister();
}

static void
make_exit_key(void)
{
    CHECK(pthread_key_create(&eal.exit_key, leave_thread) == 0);
}

void
ethdev__eal_adopt_thread(void)
{
    if (rte_lcore_id() != LCORE_ID_ANY)
        return;
    (void)pthread_once(&eal.exit_once, make_exit_key);
    /* Without a place among DPDK's threads it works as well, but every buffer is fetched from the
     * shared ring. */
    if (rte_thread_register() != 0)
        diag_warn("dpdk_thread_uncached", "cause=%s", rte_strerror(rte_errno));
    else
        (void)pthread_setspecific(eal.exit_key, &eal);
}
